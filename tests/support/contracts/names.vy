# pragma version 0.4.3
# An ENS registry and a public resolver in one, as far as names are read; anybody may say anything.

resolvers: HashMap[bytes32, address]
addresses: HashMap[bytes32, address]
names: HashMap[bytes32, String[400]]


@external
def set_resolver(node: bytes32, resolver: address):
    self.resolvers[node] = resolver


@external
def set_addr(node: bytes32, account: address):
    self.addresses[node] = account


@external
def set_name(node: bytes32, name: String[400]):
    self.names[node] = name


@external
@view
def resolver(node: bytes32) -> address:
    return self.resolvers[node]


@external
@view
def addr(node: bytes32) -> address:
    return self.addresses[node]


@external
@view
def name(node: bytes32) -> String[400]:
    return self.names[node]
