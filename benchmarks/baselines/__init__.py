"""What a good engineer would write without the router: the endpoints that it is compared with.

Same server, event loop and HTTP parser; same body, read and parsed the same way. Those that store
do so with one INSERT and one COMMIT a request, durably, and know a message that comes again by its
id. Where the load is signed, they verify it; the bare one stays bare.
"""
