/* SPDX-License-Identifier: Apache-2.0 */
/* pointwise: pooling, and what goes element by element. */

typedef float vec_anywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

INLINE vec pooled(const struct conv_pool *pool, int64_t y, int64_t x, int64_t part)
{
    const int64_t top = y * pool->stride_y - pool->pad_top;
    const int64_t left = x * pool->stride_x - pool->pad_left;
    vec result = {0};
    int64_t n = 0;
    for (int64_t ky = 0; ky < pool->kernel_height; ky++) {
        int64_t row = top + ky * pool->dilation_y;
        if (row < 0 || row >= pool->in_height)
            continue;
        for (int64_t kx = 0; kx < pool->kernel_width; kx++) {
            int64_t column = left + kx * pool->dilation_x;
            if (column < 0 || column >= pool->in_width)
                continue;
            vec pixel = load(pool->in + (row * pool->in_width + column) * BLOCK + part);
            if (pool->kind != QUIRE_POOL_MAX)
                result += pixel;
            else
                result = n == 0 ? pixel : MOST_OF(result, pixel);
            n++;
        }
    }
    if (pool->kind == QUIRE_POOL_MAX || n == 0)
        return result;
    if (pool->kind == QUIRE_POOL_AVERAGE_PADDED)
        n = pool->kernel_height * pool->kernel_width;
    return result / (float)n;
}

TARGET static void pool(const struct conv_pool *pool)
{
    for (int64_t y = 0; y < pool->out_height; y++)
        for (int64_t x = 0; x < pool->out_width; x++)
            for (int64_t part = 0; part < BLOCK; part += LANES)
                store(pool->out + (y * pool->out_width + x) * BLOCK + part,
                      pooled(pool, y, x, part));
}

INLINE vec combined(enum quire_combine kind, vec a, vec b)
{
    return kind == QUIRE_COMBINE_ADD        ? a + b
           : kind == QUIRE_COMBINE_MULTIPLY ? a * b
                                            : MOST_OF(a, b);
}

INLINE void combine_all(const struct conv_combine *all, enum quire_combine kind)
{
    int64_t i = 0;
    for (; i + LANES <= all->n; i += LANES) {
        vec a = *(const vec_anywhere *)(all->a + i), b = *(const vec_anywhere *)(all->b + i);
        *(vec_anywhere *)(all->out + i) = clamp(combined(kind, a, b), all->low, all->high);
    }
    for (; i < all->n; i++) {
        vec a = {all->a[i]}, b = {all->b[i]};
        all->out[i] = clamp(combined(kind, a, b), all->low, all->high)[0];
    }
}

TARGET static void combine(const struct conv_combine *all)
{
    if (all->kind == QUIRE_COMBINE_ADD)
        combine_all(all, QUIRE_COMBINE_ADD);
    else if (all->kind == QUIRE_COMBINE_MULTIPLY)
        combine_all(all, QUIRE_COMBINE_MULTIPLY);
    else
        combine_all(all, QUIRE_COMBINE_MAX);
}

TARGET static void scale(const struct conv_scale *all)
{
    for (int64_t part = 0; part < BLOCK; part += LANES) {
        vec factor = load(all->scale + part), shift = load(all->shift + part);
        for (int64_t p = 0; p < all->n_pixels; p++)
            store(all->out + p * BLOCK + part,
                  clamp(load(all->in + p * BLOCK + part) * factor + shift, all->low, all->high));
    }
}
