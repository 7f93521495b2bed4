"""MONITOR with redis-py: HOST PORT PROTOCOL."""

import sys

from redis import Redis

host, port, protocol = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = {"host": host, "port": port, "protocol": protocol, "decode_responses": True, "socket_timeout": 10}
client = Redis(**options)
with Redis(**options).monitor() as monitor:
    assert client.set("py", 'a "quoted" value') is True
    assert client.get("py") == 'a "quoted" value'
    lines = monitor.listen()
    shown = next(line for line in lines if line["command"].startswith("SET"))
    assert shown["command"] == 'SET py a "quoted" value', shown
    assert shown["db"] == 0 and shown["client_type"] == "tcp", shown
    assert shown["client_address"].startswith("127.") and int(shown["client_port"]) > 0, shown
    assert shown["time"] > 1_700_000_000, shown
    assert next(lines)["command"] == "GET py"
print("done")
