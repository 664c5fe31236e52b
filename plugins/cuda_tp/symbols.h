/* plugins/cuda_tp/symbols.h: functions of a library that is found at run time, into a struct of pointers to them. */
#ifndef CUDA_TP_SYMBOLS_H
#define CUDA_TP_SYMBOLS_H

#include <dlfcn.h>
#include <stddef.h>

typedef struct symbol {
    const char *name;
    size_t at; /* offset of the pointer */
} symbol;

/* The name of the first that the library does not have; NULL: all are found. */
static inline const char *symbols_find(void *library, const symbol *symbols, size_t count, void *functions)
{
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found)
            return symbols[i].name;
        *(void **)((char *)functions + symbols[i].at) = found;
    }
    return NULL;
}

#endif
