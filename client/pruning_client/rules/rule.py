"""`Rule`: what one rule of a recipe is to a caller."""

from typing import Any

from pruning_client.recipes.value import Value
from pruning_client.rules.table import BUILDERS
from pruning_proto.v1 import pruning_pb2 as pb


class Rule(Value[pb.Rule]):
    """What is pruned, and how much: one rule, as a function of `rules` returns it.

    A value: it cannot be changed, rules that prune the same in the same words are equal, and they hash and pickle. It
    prints as the call that makes it, without arguments that are the usual ones; long ones are shortened.

    Example:
        >>> rules.l1_unstructured(0.5, scope="global", exclude=["classifier.*"])
        l1_unstructured(0.5, scope='global', exclude=['classifier.*'])
    """

    __slots__ = ()
    _message_type = pb.Rule

    def __repr__(self) -> str:
        from pruning_client.rules.call_text import call_text  # noqa: PLC0415 - imports protobuf's JSON

        return call_text(self.to_message(), BUILDERS)

    @property
    def method(self) -> str:
        """The name of the function that builds it, such as "l1_unstructured"; empty if none does."""
        return str(self.to_dict().get("method", ""))

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as in a recipe file: its method and its arguments, as JSON can represent them.

        Example:
            >>> rules.l1_unstructured(0.5, scope="global").to_dict()
            {'method': 'l1_unstructured', 'amount': {'fraction': 0.5}, 'scope': 'global'}
        """
        from pruning_client.recipes.content import rule_content  # noqa: PLC0415 - as above

        return rule_content(self.to_message(), BUILDERS)
