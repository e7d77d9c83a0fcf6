"""What an operator sees and scripts ask: an HTTP server over what it is given to read, in a process of its own.

reading    what it reads, kept encoded per state of the store
app        routes and middleware together; api: the JSON ones; openapi: their description
events     server-sent events: one look at the store for all who listen
metrics    numbers for Prometheus; wellbeing: /healthz and /readyz
gate       who may ask: host, token, session, forgery; shield: headers; problems: errors as JSON
page       what people look at
server     the process
"""
