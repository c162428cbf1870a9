// Carries Ethernet frames between TAP devices and holds each for a fixed time: the delay of a network, for kernels without netem.
//
//     cc -O2 -o forwarder forwarder.c
//     forwarder MICROSECONDS TAP0 TAP1 ...        (root; ends when its standard input does)
//
// Makes the devices, prints "ready", and switches by the last byte of the destination's address: ...:01 is behind TAP0, ...:02 behind
// TAP1. Anything else goes to all others. Frames stay as large as the kernel hands them over (up to 64 KiB, one header for many
// segments), so that a gigabit is some two thousand frames a second.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_DEVICES = 16, HEADER = 10, LARGEST = 65536 + 256, READS_IN_A_ROW = 16 };
#define MOST_HELD (512L << 20)

struct frame {
    struct frame *next;
    long due;
    int from;
    int bytes;
    unsigned char data[];
};

static int devices[MOST_DEVICES];
static int count;
static struct frame *oldest, **newest = &oldest;
static long held;

static void fail(const char *what) {
    fprintf(stderr, "forwarder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static int open_device(const char *name) {
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) fail("/dev/net/tun");
    struct ifreq request = {0};
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(device, TUNSETIFF, &request) < 0) fail(name);
    if (ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) fail("offload");
    return device;
}

static void deliver(const struct frame *frame) {
    const unsigned char *destination = frame->data + HEADER;
    int to = destination[5] - 1;
    int is_known = !(destination[0] & 1) && to >= 0 && to < count;
    for (int device = 0; device < count; device++) {
        if (is_known ? device != to : device == frame->from) continue;
        // A network may lose frames; this one does where the kernel has no room.
        if (write(devices[device], frame->data, frame->bytes) < 0 && errno != EAGAIN && errno != EIO && errno != EINVAL) fail("write");
    }
}

int main(int words, char **word) {
    if (words < 4 || words - 2 > MOST_DEVICES) {
        fprintf(stderr, "usage: forwarder MICROSECONDS TAP0 TAP1 ...\n");
        return 2;
    }
    long delay = atol(word[1]) * 1000;
    count = words - 2;
    struct pollfd waits[MOST_DEVICES + 1];
    for (int device = 0; device < count; device++) {
        devices[device] = open_device(word[device + 2]);
        waits[device] = (struct pollfd){.fd = devices[device], .events = POLLIN};
    }
    waits[count] = (struct pollfd){.fd = 0, .events = POLLIN};
    prctl(PR_SET_TIMERSLACK, 1000);
    puts("ready");
    fflush(stdout);
    static unsigned char buffer[LARGEST];
    for (;;) {
        struct timespec left, *until = NULL;
        if (oldest) {
            long wait = oldest->due - now();
            if (wait < 0) wait = 0;
            left = (struct timespec){wait / 1000000000L, wait % 1000000000L};
            until = &left;
        }
        // With too much held, devices wait, and the kernel's queues before them fill.
        for (int device = 0; device < count; device++) waits[device].fd = held < MOST_HELD ? devices[device] : -1;
        if (ppoll(waits, count + 1, until, NULL) < 0 && errno != EINTR) fail("poll");
        if (waits[count].revents) {
            char byte;
            if (read(0, &byte, 1) <= 0) return 0;
        }
        for (int device = 0; device < count; device++) {
            if (!(waits[device].revents & POLLIN)) continue;
            for (int reads = 0; reads < READS_IN_A_ROW; reads++) {
                int bytes = read(devices[device], buffer, sizeof buffer);
                if (bytes < HEADER + 14) break;
                struct frame *frame = malloc(sizeof *frame + bytes);
                if (!frame) fail("memory");
                *frame = (struct frame){.due = now() + delay, .from = device, .bytes = bytes};
                memcpy(frame->data, buffer, bytes);
                *newest = frame;
                newest = &frame->next;
                held += bytes;
            }
        }
        // All are held equally long, so that the order of arrival is that of departure.
        for (long time = now(); oldest && oldest->due <= time;) {
            struct frame *frame = oldest;
            deliver(frame);
            oldest = frame->next;
            if (!oldest) newest = &oldest;
            held -= frame->bytes;
            free(frame);
        }
    }
}
