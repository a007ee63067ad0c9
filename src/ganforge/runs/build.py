"""Building the untrained system of a run."""

import torch
from pydantic import ValidationError

from ganforge.errors import UserError
from ganforge.runs.compatibility import without_unknown
from ganforge.runs.folder import RunConfig
from ganforge.system import System
from ganforge.systems.discovery import find_recorded


def build_system(config: RunConfig, typed: str | None = None) -> System:
    """The untrained system of a run; its first weights are a function of the seed.

    `typed` as of `find_recorded`. Raises UserError for options that this version does not have.
    """
    kind = find_recorded(config.system, typed)
    try:
        where = f"config.json of this run, of ganforge {config.ganforge}"
        options = kind.Config.model_validate(without_unknown(kind.Config, config.config, where))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"config.json of this run, of ganforge {config.ganforge}: {config.system} rejects "
            f"{'.'.join(map(str, first['loc'])) or 'these options'} = {first['input']!r} ({first['msg']}): "
            "expected options of this version, or the version that trained it"
        ) from error
    torch.manual_seed(config.train.seed)
    return kind(options, config.spec)
