"""The tables of benchmarks: text with {NAME} for a figure."""

from quoted.formats import table


def training() -> dict[str, str]:
    """Of training steps, of their input, and of what a run adds to them."""
    float32, bfloat16 = "train-resnet18.bench.t6", "train-resnet18-bfloat16.bench.t6"
    contestants = [
        *(("ours, float32", f"{float32}.ours"), ("ours, plain path", f"{float32}.ours_plain")),
        ("SpikingJelly multi-step", f"{float32}.sj_multi_step"),
        ("SpikingJelly step by step", f"{float32}.sj_step_by_step"),
        ("ours, bfloat16", f"{bfloat16}.ours"),
    ]
    events = {
        "dvs_gesture_vgg11": "T = 20, 128x128",
        "cifar10_dvs_vgg11": "T = 16, 48x48",
    }
    engines = {
        "train-digits": "`digits_snn5`, batch 32, one thread",
        "train-resnet18": "`cifar10_resnet18`, batch 8, float32",
    }
    shares = ("step_s", "wait_ms", "share", "memory_ms", "disk_ms")
    costs = ("bare_ms", "overhead", "save_ms", "save")
    return {
        "training-step": table(
            " | step / ReLU net's | held for backward / ReLU net's",
            [
                [
                    text,
                    f"{{{at}.relu}} (quartiles {{{at}.quartiles}})",
                    f"{{{at}.held}} ({{{at}.held_mib}} MiB)",
                ]
                for text, at in contestants
            ],
        ),
        "event-input": table(
            "recipe | step [s] | waits for input [ms] | share [%] | batch from memory [ms] "
            "| from disk [ms]",
            [
                [
                    f"`{recipe}`, {shape}",
                    *(f"{{event-input.bench.{recipe}.{key}}}" for key in shares),
                ]
                for recipe, shape in events.items()
            ],
        ),
        "engine": table(
            " | bare step [ms] | a run adds [%] | a save takes [ms] | of a minute [%]",
            [
                [text, *(f"{{{group}.bench.engine.{key}}}" for key in costs)]
                for group, text in engines.items()
            ],
        ),
    }


def connections() -> dict[str, str]:
    """Of event-driven connections."""
    train, evaluate = "connections-train", "connections-eval"
    steps = [
        ("ResNet-18, fresh rates", f"{train}.fresh_1.t6"),
        ("ResNet-18, trained rates", f"{train}.trained_1.t6"),
        ("VGG-11, event frames, 5 % not zero", f"{train}.frames_5.t10"),
        ("digits net, batch 32", f"{train}.digits.t4"),
    ]
    inferences = [("ResNet-18", f"{evaluate}.trained_1.t6", (1, 8))]
    others = ("ours_dense", "sj_multi_step", "sj_step_by_step")
    return {
        "event-driven-steps": table(
            "training step / ReLU net's | mean rate | event-driven | quartiles | dense "
            "| SpikingJelly multi-step | step by step | held / ReLU net's",
            [
                [
                    *(text, f"{{{at}.rate}}", f"{{{at}.ours.relu}}", f"{{{at}.ours.quartiles}}"),
                    *(f"{{{at}.{other}.relu}}" for other in others),
                    f"{{{at}.ours.held}}",
                ]
                for text, at in steps
            ],
        ),
        "event-driven-inferences": table(
            "inference | N | / ReLU net's on T x N images | quartiles | in theory "
            "| of the saving [%] | / ReLU net's on N images | in theory",
            [
                [
                    *(text, str(size), f"{{{at}.n{size}.ours.relu}}"),
                    *(f"{{{at}.n{size}.ours.quartiles}}", f"{{{at}.n{size}.theory}}"),
                    *(f"{{{at}.n{size}.saved}}", f"{{{at}.n{size}.ours.relu_one_step}}"),
                    f"{{{at}.n{size}.theory_one_step}}",
                ]
                for text, at, sizes in inferences
                for size in sizes
            ],
        ),
    }
