/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private heap for work that ends as a whole: words are counted in a tree, whose nodes nobody
 * frees one by one. The memory is the program's own; what the heap needs for itself it maps.
 *
 *    cc heap.c $(pkg-config --cflags --libs quire) && ./a.out
 */
#include <quire/heap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Alignas(4096) char memory[1 << 20];

struct node {
    struct node *left, *right;
    unsigned count;
    char word[];
};

static struct node *count_word(struct quire_heap *heap, struct node *node, const char *word)
{
    if (node == NULL) {
        size_t n_bytes = strlen(word) + 1;
        node = quire_heap_calloc(heap, 1, sizeof *node + n_bytes);
        if (node == NULL) {
            fputs("the memory is full\n", stderr);
            exit(1);
        }
        memcpy(node->word, word, n_bytes);
    }
    int order = strcmp(word, node->word);
    if (order == 0)
        node->count++;
    else if (order < 0)
        node->left = count_word(heap, node->left, word);
    else
        node->right = count_word(heap, node->right, word);
    return node;
}

static void print_tree(const struct node *node)
{
    if (node == NULL)
        return;
    print_tree(node->left);
    printf("%4u %s\n", node->count, node->word);
    print_tree(node->right);
}

static void print_heap(struct quire_heap *heap)
{
    struct quire_heap_counts counts;
    struct quire_heap_class one;

    quire_heap_counts(heap, &counts);
    printf("%zu objects in %zu bytes, of %zu bytes of pages\n", counts.n_small, counts.small_bytes,
           counts.used_bytes);
    for (unsigned i = 0; quire_heap_class(heap, i, &one); i++)
        if (one.n_live > 0)
            printf("  class %3zu: %zu of %zu\n", one.object_bytes, one.n_live, one.n_objects);
}

static void count_text(struct quire_heap *heap, const char *text)
{
    struct node *tree = NULL;
    char word[32];
    int n;

    for (; sscanf(text, " %31s%n", word, &n) == 1; text += n)
        tree = count_word(heap, tree, word);
    print_tree(tree);
    print_heap(heap);
}

int main(void)
{
    const struct quire_heap_config config = {
        .memory = memory,
        .memory_bytes = sizeof memory,
        .flags = QUIRE_HEAP_ZEROED | QUIRE_HEAP_HARDENED, /* static memory is; find my mistakes */
    };
    struct quire_heap *heap;
    int error = quire_heap_new(&config, &heap);

    if (error != 0) {
        fprintf(stderr, "no heap: %s\n", strerror(-error));
        return 1;
    }
    count_text(heap, "a quire is a gathering of pages and a page is a side of a leaf");
    if (quire_heap_validate(heap) != 0) /* has anything been written behind an object? */
        return 1;
    quire_heap_free_all(heap); /* the tree is gone */
    count_text(heap, "the next text finds an empty heap");
    return quire_heap_delete(heap) == 0 ? 0 : 1;
}
