#!/usr/bin/env python3
"""How much queues of length c and b let staleness m absorb: two stages of DSP whose batches now and then take longer.

    benchmarks/queues/simulate.py

Stage 0 forwards in 0.2 units of time and recomputes and pulls back in 0.67, stage 1 takes 0.92 for all of it, as ResNet-20 cut
in two does on the machine of benchmarks/methods-cpu. Each stage takes a batch with probability 1/3 twice as long. Prints the share
of time that each stage works, as the mean over 20 seeds.
"""

import random

FORWARD, BACKWARD, ABOVE = 0.2, 0.67, 0.92
BATCHES = 2000


def shares(m, c, b, slowdown, seed):
    draw = random.Random(seed)
    factor = [[1 + slowdown * (draw.random() < 1 / 3) for _ in range(BATCHES + m)] for _ in range(2)]
    program = [("F", j) for j in range(m)]
    for n in range(BATCHES):
        program += [("F", n + m), ("B", n)]
    put = [None] * (BATCHES + m)  # when an activation has room in the queue
    taken = [None] * (BATCHES + m)
    sent = [None] * BATCHES  # the same of a gradient
    received = [None] * BATCHES
    now, busy = [0.0, 0.0], [0.0, 0.0]
    step, batch, computed = 0, 0, [False, False]
    while step < len(program) or batch < BATCHES:
        before = (step, batch, list(computed))
        if step < len(program):
            action, j = program[step]
            if action == "F" and j >= BATCHES:
                step += 1
            elif action == "F":
                if not computed[0]:
                    now[0] += FORWARD * factor[0][j]
                    busy[0] += FORWARD * factor[0][j]
                    computed[0] = True
                if j < c or taken[j - c] is not None:
                    if j >= c:
                        now[0] = max(now[0], taken[j - c])
                    put[j], computed[0], step = now[0], False, step + 1
            elif sent[j] is not None:
                now[0] = received[j] = max(now[0], sent[j])
                now[0] += BACKWARD * factor[0][j]
                busy[0] += BACKWARD * factor[0][j]
                step += 1
        if batch < BATCHES:
            if not computed[1] and put[batch] is not None:
                now[1] = taken[batch] = max(now[1], put[batch])
                now[1] += ABOVE * factor[1][batch]
                busy[1] += ABOVE * factor[1][batch]
                computed[1] = True
            if computed[1] and (batch < b or received[batch - b] is not None):
                if batch >= b:
                    now[1] = max(now[1], received[batch - b])
                sent[batch], computed[1], batch = now[1], False, batch + 1
        assert before != (step, batch, computed), "a deadlock"
    return [share / max(now) for share in busy]


def mean(m, c, b, slowdown):
    runs = [shares(m, c, b, slowdown, seed) for seed in range(20)]
    return " ".join(f"{100 * sum(run[k] for run in runs) / len(runs):5.1f} %" for k in range(2))


print("m  c  b   doubled           × 2.5")
for m, c, b in [(2, 1, 1), (2, 2, 2), (4, 2, 2), (4, 4, 4), (8, 4, 4), (8, 8, 8)]:
    print(f"{m}  {c}  {b}   {mean(m, c, b, 1.0)}   {mean(m, c, b, 1.5)}")
