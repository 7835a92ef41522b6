"""A Sparkplug B peer that nobody here wrote (PyPI package pysparkplug), steered through standard input.

  sparkplug_peer.py node PORT GROUP NODE   an edge node; prints {"command": "rebirth"} when it is asked for its births
  sparkplug_peer.py host PORT GROUP        a host application; prints every message of the group, decoded

Commands to a node, one JSON object a line:
  {"nbirth": [METRIC, ...], "seq": N}              METRIC: [NAME or null, ALIAS or null, TYPE, VALUE, UNIT?]
  {"dbirth": "DEVICE", "metrics": [...], "seq": N}, {"ddata": ...}, {"ddeath": "DEVICE", "seq": N}
  {"ndeath": BDSEQ}                                a death with this number, as a broker might say late
Its bdSeq is 7. Killed, the broker says its death. Commands to a host: {"rebirth": "NODE"}.
"""

import json
import sys
import threading

import pysparkplug as psp

kind, port, group = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


class Metric(psp.Metric):
    """Its library knows no properties, but its protobuf does."""

    def to_pb(self, include_dtype):
        metric = super().to_pb(include_dtype)
        if unit := units.get(self.name):
            metric.properties.keys.append("engUnit")
            metric.properties.values.add(type=psp.DataType.STRING, string_value=unit)
        return metric


units = {}


def metrics(rows):
    now = psp.get_current_timestamp()
    units.update({row[0]: row[4] for row in rows if len(row) > 4})
    return tuple(
        Metric(timestamp=now, name=n, alias=a, datatype=getattr(psp.DataType, t), value=v) for n, a, t, v, *_ in rows
    )


def command(rebirth=True):
    now = psp.get_current_timestamp()
    metric = psp.Metric(timestamp=now, name="Node Control/Rebirth", datatype=psp.DataType.BOOLEAN, value=rebirth)
    return psp.NCmd(timestamp=now, metrics=(metric,))


client = psp.Client()


def publish(type_, node, payload, device=None):
    topic = psp.Topic(message_type=type_, group_id=group, edge_node_id=node, device_id=device)
    message = psp.Message(topic=topic, payload=payload, qos=psp.QoS.AT_MOST_ONCE, retain=False)
    client.publish(message, include_dtypes=True)


if kind == "node":
    node = sys.argv[4]
    now = psp.get_current_timestamp
    bd_seq = lambda n: psp.Metric(timestamp=now(), name="bdSeq", datatype=psp.DataType.INT64, value=n)
    death = psp.NDeath(timestamp=now(), bd_seq_metric=bd_seq(7))
    topic = psp.Topic(message_type=psp.MessageType.NDEATH, group_id=group, edge_node_id=node)
    client.set_will(psp.Message(topic=topic, payload=death, qos=psp.QoS.AT_MOST_ONCE, retain=False))
    commands = psp.Topic(message_type=psp.MessageType.NCMD, group_id=group, edge_node_id=node)

    def on_command(_, message):
        if any(m.name == "Node Control/Rebirth" and m.value for m in message.payload.metrics):
            say({"command": "rebirth"})

    client.subscribe(commands, psp.QoS.AT_LEAST_ONCE, on_command)
else:
    everything = psp.Topic(message_type="+", group_id=group, edge_node_id="+", device_id="+")
    nodes = psp.Topic(message_type="+", group_id=group, edge_node_id="+")

    def on_message(_, message):
        payload = message.payload
        listed = getattr(payload, "metrics", None) or ([payload.bd_seq_metric] if hasattr(payload, "bd_seq_metric") else [])
        say(
            {
                "type": str(message.topic.message_type.value),
                "node": message.topic.edge_node_id,
                "device": message.topic.device_id,
                "seq": getattr(payload, "seq", None),
                "metrics": [[m.name, m.alias, m.datatype.name, m.value, m.is_null] for m in listed],
            }
        )

    for wanted in (nodes, everything):
        client.subscribe(wanted, psp.QoS.AT_LEAST_ONCE, on_message)

# Connected is whoever hears itself: the broker has then seen every subscription before this one.
probe = psp.Topic(message_type=psp.MessageType.NCMD, group_id=group, edge_node_id="probe")
client.subscribe(probe, psp.QoS.AT_LEAST_ONCE, lambda *_: say({"connected": True}))


def connected(_):
    empty = psp.NCmd(timestamp=psp.get_current_timestamp(), metrics=())
    client.publish(psp.Message(topic=probe, payload=empty, qos=psp.QoS.AT_LEAST_ONCE, retain=False))


# A busy machine may let it wait for long; a killed process is dead at once all the same.
client.connect("127.0.0.1", port=port, keepalive=60, blocking=False, callback=connected)
for line in sys.stdin:
    order = json.loads(line)
    stamp = psp.get_current_timestamp()
    if "nbirth" in order:
        birth = metrics(order["nbirth"]) + (bd_seq(7),)
        publish(psp.MessageType.NBIRTH, node, psp.NBirth(timestamp=stamp, seq=order["seq"], metrics=birth))
    elif "dbirth" in order:
        birth = psp.DBirth(timestamp=stamp, seq=order["seq"], metrics=metrics(order["metrics"]))
        publish(psp.MessageType.DBIRTH, node, birth, order["dbirth"])
    elif "ddata" in order:
        data = psp.DData(timestamp=stamp, seq=order["seq"], metrics=metrics(order["metrics"]))
        publish(psp.MessageType.DDATA, node, data, order["ddata"])
    elif "ddeath" in order:
        publish(psp.MessageType.DDEATH, node, psp.DDeath(timestamp=stamp, seq=order["seq"]), order["ddeath"])
    elif "ndeath" in order:
        publish(psp.MessageType.NDEATH, node, psp.NDeath(timestamp=stamp, bd_seq_metric=bd_seq(order["ndeath"])))
    elif "rebirth" in order:
        publish(psp.MessageType.NCMD, order["rebirth"], command())
    say({"ok": True})
