"""Lightning: a member is a module and its data, which a `Trainer` trains for some epochs in each interval.

=================  ====================================================================================================
`member`           `LightningMember`: the base of a trainable class around a `LightningModule`
`epochs`           the callback that puts values right when training begins, and ends the interval
=================  ====================================================================================================
"""

from __future__ import annotations

from poptrain.core.errors import MissingExtra

try:
    import lightning  # noqa: F401
except ImportError as error:
    raise MissingExtra("poptrain.integrations.lightning needs Lightning: pip install 'poptrain[lightning]'") from error

from poptrain.integrations.lightning.member import LightningMember

__all__ = ["LightningMember"]
