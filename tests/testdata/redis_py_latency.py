"""SLOWLOG, LATENCY and CORACLE with redis-py: HOST PORT PROTOCOL. Every command is slow there."""

import sys

from redis import Redis

host, port, protocol = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = Redis(host=host, port=port, protocol=protocol, decode_responses=True, client_name="py", socket_timeout=10)
assert client.slowlog_reset() is True
assert client.set("py", "value") is True
entries = client.slowlog_get(128)
(entry,) = [entry for entry in entries if entry["command"] == b"SET py value"]
# redis-py leaves the texts of SLOWLOG as they are.
assert entry["client_name"] == b"py" and entry["client_address"].startswith(b"127."), entry
assert entry["duration"] >= 0 and entry["start_time"] > 1_700_000_000, entry
assert len({entry["id"] for entry in entries}) == len(entries), "numbers are unique"
assert client.slowlog_len() >= 1
assert client.latency_reset() >= 0
assert client.latency_latest() == []
assert client.latency_history("commit") == []
histogram = client.execute_command("LATENCY HISTOGRAM", "set")
name, calls = (histogram[0], histogram[1][1]) if protocol == 2 else ("set", histogram["set"]["calls"])
assert name == "set" and calls >= 1, histogram
hot = client.execute_command("CORACLE HOTKEYS")
assert "keys" in hot, hot
assert client.info("stages")["stage_write"]["count"] >= 1
assert client.info("latencystats")["latency_percentiles_usec_set"]["p99"] > 0
print("done")
