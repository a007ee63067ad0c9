"""The names of systems, data sets and options, stored in `names.json` so that listing needs no torch.

`python -m ganforge.cli.names` writes the file again after a change of a system, of the data or of options.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("names.json")
Options = dict[str, list[str]]


@dataclass(frozen=True)
class SystemName:
    """What `ganforge list systems` shows of a system."""

    summary: str
    purpose: str
    needs: list[str]


@dataclass(frozen=True)
class Names:
    """Systems and data sets by name; of each verb its options, each with the values to choose from, if any.

    A system's own options are those of the verb `train SYSTEM`, its other options those of `train`; `bench`
    takes the same of its own.
    """

    systems: dict[str, SystemName]
    data: dict[str, str]
    options: dict[str, Options]


def read_names() -> Names:
    """The stored names."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    systems = {name: SystemName(**fields) for name, fields in stored["systems"].items()}
    return Names(systems, stored["data"], stored["options"])


def current_names() -> Names:
    """The names as the modules have them; imports every system and verb."""
    from ganforge.cli.arguments import arguments_of, options_of
    from ganforge.cli.bench import bench_arguments
    from ganforge.cli.main import VERBS
    from ganforge.cli.train import train_arguments
    from ganforge.data.sources.catalogue import available as available_data
    from ganforge.systems.discovery import available, find

    systems, options = {}, {}
    for verb in VERBS:
        target = verb.load()
        if isinstance(target, type):
            options[verb.name] = options_of(target)
    for name in available():
        kind = find(name)
        summary = (kind.__doc__ or "").strip().partition("\n")[0]
        systems[name] = SystemName(summary, kind.purpose, sorted(kind.needs))
        own = options_of(arguments_of(kind.Config, {}))
        for first, arguments in (("train", train_arguments), ("bench", bench_arguments)):
            every = options_of(arguments(name, {}))
            options[first] = {option: values for option, values in every.items() if option not in own}
        options[f"train {name}"] = own
    return Names(systems, available_data(), options)


def main() -> None:
    """Write `names.json`."""
    text = json.dumps(dataclasses.asdict(current_names()), indent=1, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
