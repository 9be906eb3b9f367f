"""The command `clifctl`, also as `python -m clifctl`."""

import signal


def main() -> None:
    """Run the command line and exit."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the command is loaded Ctrl-C simply ends it: there is nothing to tell yet.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from clifctl.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
