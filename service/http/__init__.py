"""The HTTP interface: routes, request bodies, responses, errors, middleware."""
