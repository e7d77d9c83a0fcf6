"""JSON-RPC over websocket, HTTP and IPC, with failover between endpoints.

client     RpcClient: what the rest of Keeper calls
heads      the newest head, by subscription with polling as fallback
endpoint   one endpoint: its connection and its health
mux        replies to requests by id, pushes to subscriptions
websocket, http, ipc   bytes out, bytes in
wire       messages, headers and logs as the node writes them
faults     what a node's error means
multicall  Multicall3's aggregate3, encoded and decoded by fixed-width slicing
address    endpoint addresses and how they are shown without their secrets
"""
