#!/usr/bin/env python3
"""What one TCP connection carries between two "hosts" (network namespaces) with a delay; root.

    sudo python3 benchmarks/mpi/connection.py [--rate 1gbit] [--delay-ms 5,50] [--buffer-mib 4,32] [--seconds 10]

A sender writes as fast as it can. Bits/s count from the second half of the time. Prints a Markdown table.
"""

import argparse
import subprocess
import sys

import network

RECEIVER = """
import socket, sys, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("", 5001))
server.listen()
print("ready", flush=True)
connection, _ = server.accept()
began, half, count = time.monotonic(), None, 0
while data := connection.recv(1 << 20):
    now = time.monotonic()
    count += len(data)
    if half is None and now > began + float(sys.argv[1]) / 2:
        half = now, count
    last = now, count
print(8 * (last[1] - half[1]) / (last[0] - half[0]))
"""

SENDER = """
import socket, sys, time
connection = socket.create_connection(("10.77.0.1", 5001))
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    connection.sendall(bytes(1 << 20))
"""


def measure(rate, delay_ms, buffer_mib, seconds):
    """Bits/s."""
    with network.Hosts(2, delay_ms, buffer_mib << 20) as there:
        there.limit(rate)
        inside = [["ip", "netns", "exec", name, sys.executable, "-c"] for name in there.names]
        receiver = subprocess.Popen([*inside[0], RECEIVER, str(seconds)], stdout=subprocess.PIPE, text=True)
        receiver.stdout.readline()
        subprocess.run([*inside[1], SENDER, str(seconds)], check=True)
        return float(receiver.communicate()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--delay-ms", default="5,50")
    parser.add_argument("--buffer-mib", default="4,32")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    network.need("cc")
    network.end_on_signals()
    buffers = [int(each) for each in options.buffer_mib.split(",")]
    print(f"| {options.rate} | " + " | ".join(f"{each} MiB, Mbit/s" for each in buffers) + " |")
    print("| --- |" + " ---: |" * len(buffers))
    for delay in map(float, options.delay_ms.split(",")):
        found = [measure(options.rate, delay, each, options.seconds) for each in buffers]
        print(f"| {delay:g} ms | " + " | ".join(f"{each / 1e6:.0f}" for each in found) + " |", flush=True)


if __name__ == "__main__":
    main()
