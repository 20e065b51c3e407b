"""The HTTP interface: routes, request bodies, answers, errors, middleware."""
