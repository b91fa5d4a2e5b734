/* The kernel's random numbers, always the same ones: with them hash maps order their keys alike in every run, so that a seed
   makes the same inputs again and an input that failed fails again. Rust's library asks for this function by its name. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

static uint64_t state;

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    (void)flags;
    for (size_t at = 0; at < length; at++) {
        /* SplitMix64; threads may take turns. */
        uint64_t mixed = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED);
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        ((unsigned char *)buffer)[at] = (unsigned char)(mixed >> 56);
    }
    return (ssize_t)length;
}
