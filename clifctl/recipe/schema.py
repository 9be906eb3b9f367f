"""The strict schema of a recipe, and the typed object that a valid one becomes.

The sections `data`, `model` and `neuron` name a row of a table; the keys allowed beside the name
are that row's own options, so the schema is put together for the names that a recipe gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    create_model,
)
from pydantic_core import ErrorDetails

from clifctl import trust
from clifctl.amounts import counted
from clifctl.commands import command_line
from clifctl.data import DATASETS, DataOptions, Dataset, DataShape
from clifctl.errors import UntrustedFile, unknown_name
from clifctl.foreign_code import ForeignCode
from clifctl.models import MODELS, WINDOW_MODES, NeuronChoice
from clifctl.models.own.loading import FOREIGN_MODELS
from clifctl.neurons import NEURONS
from clifctl.neurons.loading import FOREIGN_NEURONS
from clifctl.recipe.choices import DataChoice, ModelChoice
from clifctl.recipe.exchange import (
    Exchange,
    ExchangeSection,
    exchange_of,
    exchange_problems,
)
from clifctl.recipe.looked_for import with_found
from clifctl.recipe.old_names import with_new_names
from clifctl.recipe.problems import Problem, describe, refusal, shown
from clifctl.recipe.train_section import EvalSection, TrainSection
from clifctl.recipe.windows import window_problems
from clifctl.strict import OF_A_RUN, Strict

# Far beyond any net in use; a bound keeps a typing error from taking the machine's memory.
MAX_TIMESTEPS = 4096
TIMESTEPS = (int, Field(gt=0, le=MAX_TIMESTEPS, description="time steps T"))
MOST_PROBLEMS = 40  # that are listed for one recipe


@dataclass(frozen=True)
class Recipe:
    """A valid recipe. `document` is the resolved mapping, every default filled in."""

    title: str
    timesteps: int
    data: DataChoice
    model: ModelChoice
    neuron: NeuronChoice
    train: TrainSection
    eval: EvalSection
    exchange: Exchange | None
    document: dict[str, Any]

    @property
    def own_neurons(self) -> bool:
        """Whether layers of the net have neurons or constants of their own, whatever `neuron`
        is."""
        return getattr(self.model.options, "nodes", "recipe") != "recipe"

    def neuron_at(self, epoch: int | None) -> NeuronChoice:
        """The neuron of `epoch` (from 1; None: of the start), after an exchange the new one."""
        if self.exchange is None or epoch is None or epoch <= self.exchange.epoch:
            return self.neuron
        own = self.neuron
        return replace(self.exchange.neuron, target=own.target, connections=own.connections)


# section -> the table that its `name` is looked up in
TABLES: dict[str, Mapping[str, Any]] = {"data": DATASETS, "model": MODELS, "neuron": NEURONS}
KINDS = {"data": "data set", "model": "model", "neuron": "neuron"}
LISTED_BY = {
    "data": "clifctl data ls",
    "model": "clifctl models ls",
    "neuron": "clifctl neurons ls",
}
# section -> what installed packages and files of a person's own may add to its table
FOREIGN: dict[str, ForeignCode[Any]] = {"model": FOREIGN_MODELS, "neuron": FOREIGN_NEURONS}
NAMES = KINDS | {name: f"{KINDS[name]}, or one of your own: FILE.py:NAME" for name in FOREIGN}


def row_of(section: str, name: object) -> Any:
    """The row that `name` names in a section's table, None where there is none. A net and a neuron
    may also be of an installed package or, as FILE.py:NAME, of a person's own file, which is run if
    it is trusted, and is none otherwise.

    Raises ModelError, NeuronError for a file that holds no such net, no such neuron.
    """
    if not isinstance(name, str):
        return None
    if section in FOREIGN:
        return FOREIGN[section].find(name, TABLES[section])
    return TABLES[section].get(name)


def section_options(section: str, name: str) -> type[BaseModel]:
    """The options of one row of a table: what its section may hold beside `name`."""
    row = row_of(section, name)
    return cast(type[BaseModel], row.hyperparameters if section == "neuron" else row.options)


def validate(
    document: dict[str, Any],
    where: str,
    *,
    of_a_run: bool = False,
    overrides: Sequence[str] = (),
) -> Recipe:
    """The recipe that `document` holds. Raises RecipeError naming every problem at once, and
    UntrustedFile where that is the only one: a recipe alone does not decide what is run.

    `of_a_run`: what was trained is only looked at, and may have a seed that an earlier version
    took. `overrides` have set what `document` says at their keys.
    """
    problems: list[Problem] = []
    document = with_found(with_new_names(document), problems)
    context = OF_A_RUN if of_a_run else None
    valid = _checked(schema_for(document, problems), document, where, problems, context, overrides)
    resolved = valid.model_dump(mode="json")
    for section in TABLES:
        resolved[section] = {"name": resolved[section].pop("name"), **resolved[section]}
    for section, name in named_files(document):
        if not trust.allows(name):
            raise UntrustedFile(where, KINDS[section], name, resolved)
    options = {
        section: _own_options(section, getattr(valid, section), context) for section in TABLES
    }
    neuron = NeuronChoice(
        row_of("neuron", valid.neuron.name),
        options["neuron"],
        valid.neuron.window,
        valid.neuron.window_reading,
    )
    return Recipe(
        title=valid.title,
        timesteps=valid.timesteps,
        data=DataChoice(row_of("data", valid.data.name), options["data"]),
        model=ModelChoice(row_of("model", valid.model.name), options["model"]),
        neuron=neuron,
        train=valid.train,
        eval=valid.eval,
        exchange=exchange_of(neuron, valid.neuron.exchange, _neuron),
        document=resolved,
    )


def named_files(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every FILE.py:NAME that `document` names, of its net, its neuron and an exchange, each behind
    its section."""
    places = foreign_places(document)
    return [(one.section, one.name) for one in places if trust.is_file_reference(one.name)]


@dataclass(frozen=True)
class Place:
    """Where a document names a net or a neuron: `mapping[key]` is a name of what `section` has."""

    section: str
    mapping: dict[str, Any]
    key: str

    @property
    def name(self) -> str:
        """The name that stands there."""
        return str(self.mapping[self.key])

    @property
    def path(self) -> tuple[str, str]:
        """What tells it from other places of a document."""
        return self.section, self.key


def foreign_places(document: dict[str, Any]) -> list[Place]:
    """Where `document` names what a person's own file may hold: its net, its neuron and the neuron
    of an exchange."""
    given = {name: document.get(name) for name in FOREIGN}
    sections = {name: one if isinstance(one, dict) else {} for name, one in given.items()}
    exchange = sections["neuron"].get("exchange")
    places = [Place(name, section, "name") for name, section in sections.items()]
    places.append(Place("neuron", exchange if isinstance(exchange, dict) else {}, "to"))
    return [one for one in places if isinstance(one.mapping.get(one.key), str)]


def _own_options(section: str, valid: Any, context: Any = None) -> Any:
    """A valid section as the options of its row, without the keys that every row shares."""
    own = section_options(section, valid.name)
    values = {name: getattr(valid, name) for name in own.model_fields}
    return own.model_validate(values, context=context)


def validate_data(
    document: dict[str, Any], where: str, overrides: Sequence[str] = ()
) -> tuple[DataOptions, int]:
    """The data options and T of a document that holds `data` and `timesteps` alone."""
    problems: list[Problem] = []
    document = with_found(with_new_names(document), problems)
    fields: dict[str, Any] = {
        "timesteps": TIMESTEPS,
        "data": (_named_sections(document, problems)["data"], ...),
    }
    schema = create_model("DataSchema", __base__=Strict, **fields)
    valid = _checked(schema, document, where, problems, overrides=overrides)
    return _own_options("data", valid.data), valid.timesteps


def _checked(
    schema: type[BaseModel],
    document: dict[str, Any],
    where: str,
    problems: list[Problem],
    context: Any = None,
    overrides: Sequence[str] = (),
) -> Any:
    """`document` as an instance of `schema`. Raises RecipeError naming every problem at once."""
    valid, left_out = None, 0
    try:
        valid = schema.model_validate(document, context=context)
    except ValidationError as invalid:
        found = [error for error in invalid.errors() if not _echo(error)]
        problems += [describe(error, schema) for error in found[:MOST_PROBLEMS]]
        left_out = max(0, len(found) - MOST_PROBLEMS)
    problems += _cross_field_problems(document)
    if problems or valid is None:
        hint = _where_keys_are_listed(problems[0].path, document)
        raise refusal(where, problems, left_out, overrides, hint)
    return valid


def _where_keys_are_listed(path: str, document: dict[str, Any]) -> str:
    """What lists the keys, or names, that could stand at `path`."""
    section, _, key = path.partition(".")
    given = document.get(section)
    name = given.get("name") if isinstance(given, dict) else None
    if section in TABLES and key != "name" and row_of(section, name) is not None:
        asked = command_line("recipes", "keys", "--of", str(name))
        return f"the keys of {KINDS[section]} '{name}': {asked}"
    if section in LISTED_BY:
        return f"{LISTED_BY[section]} lists them"
    shown = f"{section}." if key or section in ("train", "eval") else ""
    return f"the keys that it may have: {command_line('recipes', 'keys', *filter(None, [shown]))}"


def _echo(error: ErrorDetails) -> bool:
    """A list that is "too short" only because some of its entries were refused by themselves."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def schema_for(document: dict[str, Any], problems: list[Problem]) -> type[BaseModel]:
    """The schema of recipes that name the same rows as `document`; what keeps a row from being
    found is added to `problems`."""
    return _schema_of(**_named_sections(document, problems), train=TrainSection, eval=EvalSection)


# A grid has thousands of recipes of the same rows, and a schema takes longer than what it checks.
@lru_cache(maxsize=256)
def _schema_of(**sections: Any) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "title": (str, Field("", description="one line on what the recipe is")),
        "timesteps": TIMESTEPS,
        **{section: (schema, ...) for section, schema in sections.items()},
        "eval": (sections["eval"], Field(default_factory=lambda: sections["eval"]())),
    }
    return create_model("RecipeSchema", __base__=Strict, **fields)


# What the section of every neuron may hold.
NEURON_KEYS: dict[str, Any] = {
    "window": (int | None, Field(None, ge=1, description="window of truncated BPTT; null: full")),
    "window_reading": (
        Literal[WINDOW_MODES],
        Field("sliding", description="what the window means: see docs/paper.md"),
    ),
    "exchange": (
        ExchangeSection | None,
        Field(None, description="another neuron from the middle of the run on"),
    ),
}


def _named_sections(document: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Section -> the schema of the row that `document` names, Any where it names none."""
    sections: dict[str, Any] = {}
    for section, table in TABLES.items():
        given = document.get(section)
        name = given.get("name") if isinstance(given, dict) else None
        if isinstance(name, str) and row_of(section, name) is not None:
            sections[section] = _section_of(section, section_options(section, name))
            continue
        # Without a known name nothing else in the section can be judged.
        sections[section] = Any
        if section in FOREIGN and isinstance(name, str) and trust.is_file_reference(name):
            continue  # not trusted, which `validate` tells when all else is right
        if isinstance(given, dict) and name is None:
            problems.append(Problem(f"{section}.name", f": missing; known: {', '.join(table)}"))
        elif isinstance(given, dict):
            message = unknown_name(KINDS[section], shown(name), table)
            problems.append(Problem(f"{section}.name", f": {message}"))
        elif section in document:
            said = f": must be a mapping with a 'name', given {shown(given)}"
            meant = f"{section}.name" if isinstance(given, str) else None
            problems.append(Problem(section, said, meant))
    return sections


@lru_cache(maxsize=256)
def _section_of(section: str, options: type[BaseModel]) -> type[BaseModel]:
    """The schema of a section whose row has these options."""
    extra: dict[str, Any] = {"name": (str, _name_field(section))}
    if section == "neuron":
        extra |= NEURON_KEYS
    return create_model(f"{section.title()}Section", __base__=options, **extra)


def _name_field(section: str) -> Any:
    names: dict[str, Any] = {"enum": list(TABLES[section])}
    return Field(description=NAMES[section], json_schema_extra=names)


def _cross_field_problems(document: dict[str, Any]) -> list[Problem]:
    """What only two keys together get wrong; keys that are wrong by themselves are passed over."""
    timesteps = document.get("timesteps")
    if not isinstance(timesteps, int) or timesteps < 1:
        return []
    rows = {
        section: row_of(section, document[section].get("name"))
        for section in TABLES
        if isinstance(document.get(section), dict)
        and isinstance(document[section].get("name"), str)
    }
    problems: list[Problem] = []
    neuron, data = rows.get("neuron"), timed_data(document)
    asked = f" = {timesteps}: "
    if data and data.timesteps and timesteps != data.timesteps:
        has = counted(data.timesteps, "time step")
        said = f"{asked}{_of_data(document)} has {has} (add timesteps={data.timesteps})"
        problems.append(Problem("timesteps", said))
    if data and data.max_timesteps and timesteps > data.max_timesteps:
        said = f"{asked}{_of_data(document)} has at most {data.max_timesteps}"
        problems.append(Problem("timesteps", said))
    if neuron and neuron.max_timesteps and timesteps > neuron.max_timesteps:
        most = neuron.max_timesteps
        said = f"{asked}neuron '{neuron.name}' allows {most} (add timesteps={most})"
        problems.append(Problem("timesteps", said))
    problems += window_problems(document, timesteps) if neuron else []
    return problems + (exchange_problems(document, neuron, _neuron) if neuron else [])


def timed_data(document: dict[str, Any]) -> DataShape | Dataset | None:
    """What says how many time steps the data of `document` has: the shape that its options give,
    the data set where these are wrong by themselves, None where it names none."""
    section = document.get("data")
    row = row_of("data", section.get("name")) if isinstance(section, dict) else None
    if not isinstance(row, Dataset) or not isinstance(section, dict):
        return None
    own = {key: value for key, value in section.items() if key != "name"}
    try:
        return row.shape(row.options.model_validate(own, context=OF_A_RUN))
    except ValidationError:
        return row


def _of_data(document: dict[str, Any]) -> str:
    section = document["data"]
    view = section.get("view", "image")
    shown = "" if view == "image" else f" with data.view={view}"
    return f"data set '{section['name']}'{shown}"


def _neuron(name: str) -> Any:
    return row_of("neuron", name)
