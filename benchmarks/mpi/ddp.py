#!/usr/bin/env python3
"""One process of PyTorch's DistributedDataParallel over gloo, on one thread; `hosts.py` starts one per host. Prints images/s.

    python3 benchmarks/mpi/ddp.py --model resnet20 --hosts 2 --rank 0 --meet 10.77.0.1:29500 --device eth0

The networks are those of stagger's zoo: the CIFAR ResNets of benchmarks/peers/models.py, and VGG-16 with batch normalisation. The
batch is shared out, so that an update sees 128 images as in the other methods. Data are a few fixed batches of random images.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
GROUPS = [[64, 64], [128, 128], [256] * 3, [512] * 3, [512] * 3]


def network(name, models):
    from torch import nn

    if name != "vgg16-bn":
        return models.whole(name, 0, "f32")
    layers, inputs = [], 3
    for group in GROUPS:
        for outputs in group:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return models.Stage([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, models.CLASSES)], True, True, "f32")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--meet", required=True, help="address and port of rank 0")
    parser.add_argument("--device", required=True, help="network device")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--batches", type=int, default=16, help="timed batches")
    parser.add_argument("--seconds", type=float, default=60, help="fewer batches where they would take longer, 3 at least")
    options = parser.parse_args()
    os.environ["GLOO_SOCKET_IFNAME"] = options.device
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from torch import distributed
    from torch.nn import functional
    from torch.nn.parallel import DistributedDataParallel

    import models

    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=f"tcp://{options.meet}", rank=options.rank, world_size=options.hosts)
    net = network(options.model, models)
    parameters = sum(each.numel() for each in net.parameters())
    model = DistributedDataParallel(net, broadcast_buffers=False, gradient_as_bucket_view=True, static_graph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    shares = [[part.chunk(options.hosts)[options.rank] for part in batch] for batch in models.batches(options.batch_size, 0)]
    shares = [(images.contiguous(memory_format=torch.channels_last), labels) for images, labels in shares]

    def train(count):
        began = time.perf_counter()
        for step in range(count):
            images, labels = shares[step % len(shares)]
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return time.perf_counter() - began

    train(2)
    # How many fit, as the first process found it.
    count = torch.tensor([min(options.batches, max(3, int(options.seconds / (train(2) / 2))))])
    distributed.broadcast(count, 0)
    distributed.barrier()
    seconds = train(int(count))
    if options.rank == 0:
        rate = options.batch_size * int(count) / seconds
        facts = {"parameters": parameters, "engine": f"PyTorch {torch.__version__}"}
        print(json.dumps({"images_per_second": rate, "batches": int(count), "warm_up": 4, **facts}))
    # The model goes before the process group: the other way round, DistributedDataParallel can hang.
    del model, optimizer
    distributed.barrier()
    distributed.destroy_process_group()


main()
