"""The status document of the agent, as the tests read it: the one place that knows its field names."""


class Status:
    """What one node says about itself and the others."""

    def __init__(self, document):
        self.document = document or {}
        self.up = bool(document)

    @property
    def own(self):
        return self.document.get("node") or {}

    @property
    def peer(self):
        return self.own.get("peer")

    @property
    def address(self):
        """The VPN address without its prefix length."""
        return (self.own.get("address") or "").split("/")[0] or None

    @property
    def role(self):
        return self.own.get("role")

    @property
    def nodes(self):
        return self.document.get("nodes") or []

    def roles(self):
        """{VPN address: role} of all nodes, which is the same on every node of a settled network."""
        return {
            (node.get("address") or "").split("/")[0]: node.get("role") for node in self.nodes if node.get("address")
        }

    def is_server(self):
        return (self.role or "").startswith("master")

    def waiting(self):
        """What is being waited for, as short sentences."""
        return [f"{item.get('step')}: {item.get('what')}" for item in self.document.get("waiting") or []]
