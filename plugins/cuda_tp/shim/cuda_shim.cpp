/* cuda_shim.cpp: the fibers under cuda_shim.h. One scheduler per OS thread, so that ranks can run beside each other. */
#include "shim/cuda_shim.h"

#include <mutex>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ASAN 1
#endif
#endif
#ifdef SHIM_ASAN
#include <sanitizer/common_interface_defs.h>
extern "C" void __asan_handle_no_return(void);
#endif

/* Its frames are left by jumps. */
#define NOT_SANITIZED __attribute__((no_sanitize("address")))

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace
{

std::mutex loaded_lock;
std::set<const void *> loaded; /* kernels; under loaded_lock, and so is: */
bool expect_loaded;

enum { STACK_BYTES = 256 << 10, LANES = 32, SLOT_BYTES = 64, COPIES_MAX = 512, THREADS_MAX = 1024 };

struct copy_async {
    void *to;
    const void *from;
    size_t bytes, filled;
    unsigned group;
};

/* Where somebody left off. A context's switch asks the kernel for the signal mask, so contexts are only begun with;
 * then it is jumps, and the compiler's own: libc's, like contexts, let AddressSanitizer clear what it knows of a whole
 * stack.
 */
struct place {
    ucontext_t context;
    void *jump[5];
    bool begun;
};

struct fiber {
    place at;
    void *fake_stack; /* ASan's */
    unsigned thread, group, copies;
    bool done;
    copy_async copy[COPIES_MAX];
};

struct warp {
    unsigned live, arrived, phase;
    unsigned char slot[2][LANES * SLOT_BYTES];
};

struct block_state {
    fiber *fibers;
    unsigned char *stacks, *shared;
    warp *warps;
    unsigned threads, live, arrived;
    unsigned ready[THREADS_MAX], ready_count;
    fiber *running;
    place scheduler;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
    shim_body *body;
    void *closure;
};

/* Fibers and their stacks, kept from launch to launch: a sanitizer makes fresh ones dear. */
struct fiber_memory {
    fiber *fibers;
    unsigned char *stacks;
    unsigned threads;
    ~fiber_memory()
    {
        free(fibers);
        free(stacks);
    }
};

thread_local fiber_memory memory;
thread_local block_state *current;
thread_local uint64_t random_state = 0x9e3779b97f4a7c15u;

unsigned random_below(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 32) % limit);
}

void fail(const char *message)
{
    fprintf(stderr, "cuda_shim: %s (block %u,%u,%u)\n", message, blockIdx.x, blockIdx.y, blockIdx.z);
    abort();
}

void set_thread_index(unsigned thread)
{
    threadIdx = dim3(thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y));
}

/* A function of its own, as the compiler wants it. What stays on the stack that is left is still in use. */
[[gnu::noinline, noreturn]] NOT_SANITIZED void resume(place *to)
{
    if (to->begun)
        __builtin_longjmp(to->jump, 1);
    setcontext(&to->context);
    abort();
}

[[gnu::noinline]] NOT_SANITIZED void go(place *from, place *to)
{
    from->begun = true;
    if (!__builtin_setjmp(from->jump))
        resume(to);
}

void to_scheduler(bool last)
{
    block_state *b = current;
    fiber *f = b->running;
#ifdef SHIM_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &f->fake_stack, b->scheduler_stack, b->scheduler_stack_bytes);
#endif
    (void)last;
    go(&f->at, &b->scheduler);
#ifdef SHIM_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, &b->scheduler_stack, &b->scheduler_stack_bytes);
#endif
}

void make_ready(unsigned thread)
{
    current->ready[current->ready_count++] = thread;
}

void release_warp_if_complete(unsigned index)
{
    warp *w = &current->warps[index];
    if (!w->arrived || w->arrived < w->live)
        return;
    w->arrived = 0;
    w->phase ^= 1;
    for (unsigned lane = 0; lane < LANES; lane++)
        if (!current->fibers[index * LANES + lane].done)
            make_ready(index * LANES + lane);
}

void release_block_if_complete(void)
{
    if (!current->arrived || current->arrived < current->live)
        return;
    for (unsigned i = 0; i < current->threads / LANES; i++)
        if (current->warps[i].arrived)
            fail("some threads wait at a block barrier, others of their warp in a warp exchange");
    current->arrived = 0;
    for (unsigned i = 0; i < current->threads; i++)
        if (!current->fibers[i].done)
            make_ready(i);
}

void reserve_fibers(unsigned threads)
{
    if (memory.threads >= threads)
        return;
    free(memory.fibers);
    free(memory.stacks);
    memory.threads = threads;
    memory.fibers = static_cast<fiber *>(malloc(threads * sizeof(fiber)));
    memory.stacks = static_cast<unsigned char *>(malloc((size_t)threads * STACK_BYTES));
    if (!memory.fibers || !memory.stacks)
        fail("out of memory");
}

void fiber_main(void)
{
    block_state *b = current;
    fiber *f = b->running;
#ifdef SHIM_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &b->scheduler_stack, &b->scheduler_stack_bytes);
#endif
    b->body(b->closure);
    f->done = true;
    b->live--;
    b->warps[f->thread / LANES].live--;
    release_warp_if_complete(f->thread / LANES);
    release_block_if_complete();
#ifdef SHIM_ASAN
    __asan_handle_no_return(); /* the stack's next fiber finds nothing of this one */
#endif
    to_scheduler(true);
}

void start_fiber(block_state *b, unsigned thread)
{
    fiber *f = &b->fibers[thread];
    f->thread = thread;
    f->done = false;
    f->group = f->copies = 0;
    ucontext_t *context = &f->at.context;
    f->at.begun = false;
    getcontext(context);
    context->uc_stack.ss_sp = b->stacks + (size_t)thread * STACK_BYTES;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = nullptr;
    makecontext(context, fiber_main, 0);
    make_ready(thread);
}

void run_block(block_state *b)
{
    b->live = b->threads;
    b->arrived = b->ready_count = 0;
    memset(b->warps, 0, b->threads / LANES * sizeof *b->warps);
    for (unsigned i = 0; i < b->threads; i++)
        b->warps[i / LANES].live++;
    for (unsigned i = 0; i < b->threads; i++)
        start_fiber(b, i);
    while (b->live) {
        if (!b->ready_count)
            fail("threads wait for each other for ever");
        unsigned drawn = random_below(b->ready_count), thread = b->ready[drawn];
        b->ready[drawn] = b->ready[--b->ready_count];
        b->running = &b->fibers[thread];
        set_thread_index(thread);
#ifdef SHIM_ASAN
        __sanitizer_start_switch_fiber(&b->scheduler_fake_stack, b->running->at.context.uc_stack.ss_sp, STACK_BYTES);
#endif
        go(&b->scheduler, &b->running->at);
#ifdef SHIM_ASAN
        __sanitizer_finish_switch_fiber(b->scheduler_fake_stack, nullptr, nullptr);
#endif
    }
}

} // namespace

void shim_run(dim3 grid, dim3 block, size_t shared_bytes, shim_body *body, void *closure)
{
    block_state b = {};
    b.threads = block.x * block.y * block.z;
    b.body = body;
    b.closure = closure;
    if (!b.threads || b.threads % LANES || b.threads > THREADS_MAX)
        fail("a block must be whole warps, at most 1,024 threads");
    if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
        fail("a grid is empty or too large");
    reserve_fibers(b.threads);
    b.fibers = memory.fibers;
    b.stacks = memory.stacks;
    b.warps = static_cast<warp *>(malloc(b.threads / LANES * sizeof(warp)));
    if (!b.warps)
        fail("out of memory");
    current = &b;
    gridDim = grid;
    blockDim = block;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks; i++) {
        blockIdx = dim3((unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / grid.x / grid.y));
        b.shared = static_cast<unsigned char *>(aligned_alloc(16, shared_bytes ? (shared_bytes + 15) / 16 * 16 : 16));
        if (!b.shared)
            fail("out of memory");
        memset(b.shared, 0xff, shared_bytes);
        run_block(&b);
        free(b.shared);
    }
    current = nullptr;
    free(b.warps);
}

void shim_seed(uint32_t seed)
{
    random_state = 0x9e3779b97f4a7c15u * (seed + 1u) | 1u;
}

/* Switches away; the last to arrive has made everybody ready, itself too. */
static void wait_here(void)
{
    fiber *self = current->running;
    to_scheduler(false);
    set_thread_index(self->thread);
}

void shim_block_barrier(void)
{
    current->arrived++;
    release_block_if_complete();
    wait_here();
}

void shim_warp_barrier(void)
{
    unsigned index = current->running->thread / LANES;
    current->warps[index].arrived++;
    release_warp_if_complete(index);
    wait_here();
}

void shim_spin(void)
{
    const struct timespec pause = {0, 20000}; /* what is waited for is another OS thread's, which wants the core */
    nanosleep(&pause, nullptr);
    make_ready(current->running->thread);
    wait_here();
}

void *shim_dynamic_shared(void)
{
    return current->shared;
}

const unsigned char *shim_warp_exchange(const void *value, size_t bytes)
{
    fiber *self = current->running;
    warp *w = &current->warps[self->thread / LANES];
    unsigned char *slots = w->slot[w->phase];
    if (w->live != LANES || bytes > SLOT_BYTES)
        fail("an exchange needs all 32 lanes and at most 64 bytes");
    memcpy(slots + self->thread % LANES * SLOT_BYTES, value, bytes);
    shim_warp_barrier();
    return slots;
}

void shim_copy_async(void *to, const void *from, size_t bytes, size_t filled)
{
    fiber *self = current->running;
    if (self->copies == COPIES_MAX)
        fail("too many asynchronous copies in flight");
    self->copy[self->copies++] = {to, from, bytes, filled, self->group};
}

void shim_copy_commit(void)
{
    current->running->group++;
}

void shim_copy_wait(unsigned groups_left)
{
    fiber *self = current->running;
    unsigned kept = 0;
    for (unsigned i = 0; i < self->copies; i++) {
        copy_async c = self->copy[i];
        if (c.group + groups_left >= self->group) {
            self->copy[kept++] = c;
            continue;
        }
        memcpy(c.to, c.from, c.filled);
        memset(static_cast<unsigned char *>(c.to) + c.filled, 0, c.bytes - c.filled);
    }
    self->copies = kept;
}

void shim_expect_loaded(int on)
{
    std::lock_guard<std::mutex> guard(loaded_lock);
    expect_loaded = on != 0;
    if (!on)
        loaded.clear();
}

bool shim_load(const void *kernel, bool only)
{
    std::lock_guard<std::mutex> guard(loaded_lock);
    if (only)
        loaded.insert(kernel);
    if (only || !expect_loaded || loaded.count(kernel))
        return !only;
    fprintf(stderr, "a kernel is launched that was not loaded before\n");
    abort();
}
