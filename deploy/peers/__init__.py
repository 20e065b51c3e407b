"""The detector behind other servers, and the comparison of the service with them."""
