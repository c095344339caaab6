/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal: see seal.h.
 *
 *   launcher ── memfd, one page: cipher, keys        locked, not dumped, sealed against writing
 *      '── keeper: locked until the run has ended, then overwritten
 *   process of the run ── /proc/KEEPER/fd/N, mapped read-only when its pager is armed
 *
 *   nonce, 96 bits       | use of the cluster 64 | unit 32 |
 *   associated data      struct seal_place: use, cluster, unit, length
 *
 * The keys are in that page and nowhere else: a cipher's working state, which is made from them
 * anew for each object, is on the stack for as long as a call takes, and is wiped at its end. To
 * keep the expanded key would gain some 2 % and need memory of each process's own to be locked (ADR
 * 0012).
 *
 * One mapping that is locked keeps the page from being swapped for all, so only launcher and keeper
 * lock it: what a process of the run may lock is its program's business.
 *
 * Invariants
 *   K1  a nonce is used once under a key: swap_new_use() counts in memory that all processes of the
 *       run share, and a cluster's place is written once in each of its uses
 *   K2  use 0 is given to no cluster: trials have it
 */
#include "store/seal.h"

#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define MAGIC 0x6c61655365726975ull
#define CIPHER_STACK_BYTES 2048

struct seal {
    uint64_t magic;
    uint32_t cipher; /* enum seal_cipher */
    unsigned char key[crypto_aead_aes256gcm_KEYBYTES];
    unsigned char length_key[crypto_shorthash_KEYBYTES];
};

static_assert(sizeof(struct seal) <= SYS_PAGE_SIZE, "it is one page");
static_assert(sizeof(struct seal_place) == 16, "it has no padding: all of it is authenticated");
static_assert(crypto_aead_chacha20poly1305_IETF_KEYBYTES == crypto_aead_aes256gcm_KEYBYTES &&
                  crypto_aead_chacha20poly1305_IETF_NPUBBYTES == crypto_aead_aes256gcm_NPUBBYTES &&
                  crypto_aead_chacha20poly1305_IETF_ABYTES == SEAL_TAG_BYTES &&
                  crypto_aead_aes256gcm_ABYTES == SEAL_TAG_BYTES,
              "the ciphers take the same");

struct nonce {
    unsigned char bytes[crypto_aead_aes256gcm_NPUBBYTES];
};

static _Atomic bool is_prepared; /* relaxed: the library has a lock of its own */

/* Once: a fork's child must not ask again, since the library's lock may have been another thread's
 * at that moment. */
int seal_prepare(void)
{
    if (atomic_load_explicit(&is_prepared, memory_order_relaxed))
        return 0;
    if (sodium_init() < 0)
        return -EIO;
    atomic_store_explicit(&is_prepared, true, memory_order_relaxed);
    return 0;
}

static bool can(enum seal_cipher cipher)
{
    return cipher == SEAL_CHACHA20_POLY1305 ||
           (cipher == SEAL_AES_256_GCM && crypto_aead_aes256gcm_is_available() != 0);
}

enum seal_cipher seal_best_cipher(void)
{
    return can(SEAL_AES_256_GCM) ? SEAL_AES_256_GCM : SEAL_CHACHA20_POLY1305;
}

const char *seal_cipher_name(enum seal_cipher cipher)
{
    return cipher == SEAL_AES_256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305";
}

/* A shared mapping that no core dump shows, or a negative errno as sys_mmap() has it. */
static void *map(int fd, int prot)
{
    void *page = sys_mmap(NULL, SYS_PAGE_SIZE, prot, MAP_SHARED, fd, 0);
    if (sys_is_error(page))
        return page;
    const int error = sys_madvise(page, SYS_PAGE_SIZE, MADV_DONTDUMP);
    if (error < 0) {
        sys_munmap(page, SYS_PAGE_SIZE);
        return (void *)(intptr_t)error;
    }
    return page;
}

int seal_hold(struct seal *seal)
{
    return sys_mlock(seal, SYS_PAGE_SIZE) < 0 ? -EPERM : 0;
}

int seal_create(enum seal_cipher cipher, struct seal **result)
{
    const int fd = sys_memfd_create("quire-key", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fd;
    int error = sys_ftruncate(fd, (off_t)SYS_PAGE_SIZE);
    if (error < 0)
        goto close_fd;
    struct seal *seal = map(fd, PROT_READ | PROT_WRITE);
    if (sys_is_error(seal)) {
        error = sys_error(seal);
        goto close_fd;
    }
    error = seal_hold(seal);
    if (error == 0) /* who else maps it may read it, and can't take it away */
        error = sys_fcntl(fd, F_ADD_SEALS,
                          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    if (error < 0)
        goto unmap;
    seal->cipher = cipher;
    crypto_aead_aes256gcm_keygen(seal->key);
    crypto_shorthash_keygen(seal->length_key);
    seal->magic = MAGIC;
    *result = seal;
    return fd;

unmap:
    sys_munmap(seal, SYS_PAGE_SIZE);
close_fd:
    sys_close(fd);
    return error;
}

void seal_destroy(struct seal *seal)
{
    sodium_memzero(seal, sizeof(*seal));
}

/* Runs all that encrypting and decrypting may run, and sees whether it works. */
static int try_cipher(const struct seal *seal)
{
    unsigned char object[4 * 64] = {0};
    const struct seal_place place = {.n_units = 4}; /* K2 */
    if (seal->magic != MAGIC)
        return -EPROTO;
    if (!can((enum seal_cipher)seal->cipher))
        return -EOPNOTSUPP;
    seal_encrypt(seal, &place, object, sizeof(object));
    if (seal_units(seal, &place, object) != place.n_units ||
        seal_decrypt(seal, &place, object, sizeof(object)) < 0 ||
        seal_decrypt(seal, &place, object, sizeof(object)) == 0)
        return -EOPNOTSUPP;
    return 0;
}

int seal_attach(const char *path, const struct seal **seal)
{
    const int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    void *page = map(fd, PROT_READ);
    sys_close(fd);
    if (sys_is_error(page))
        return sys_error(page);
    const int error = try_cipher(page);
    if (error < 0) {
        sys_munmap(page, SYS_PAGE_SIZE);
        return error;
    }
    *seal = page;
    return 0;
}

void seal_detach(const struct seal *seal)
{
    sys_munmap((void *)(uintptr_t)seal, SYS_PAGE_SIZE);
}

static struct nonce nonce_of(const struct seal_place *place)
{
    const uint32_t unit = place->unit;
    struct nonce nonce;
    static_assert(sizeof(nonce) == sizeof(place->use) + sizeof(unit), "K1: both fit, whole");
    memcpy(nonce.bytes, &place->use, sizeof(place->use));
    memcpy(nonce.bytes + sizeof(place->use), &unit, sizeof(unit));
    return nonce;
}

/* A keyed hash of the nonce, so that lengths look random to who has not the key. */
static unsigned char length_mask(const struct seal *seal, const struct nonce *nonce)
{
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, nonce->bytes, sizeof(nonce->bytes), seal->length_key);
    return hash[0];
}

unsigned seal_units(const struct seal *seal, const struct seal_place *place,
                    const unsigned char *object)
{
    const struct nonce nonce = nonce_of(place);
    return object[SEAL_TAG_BYTES] ^ length_mask(seal, &nonce);
}

/* What the ciphers may have left of the key where their frames were; deeper ones wipe it. */
static void wipe_stack(void)
{
    sodium_stackzero(CIPHER_STACK_BYTES);
}

static void encrypt_aes(const struct seal *seal, const struct seal_place *place,
                        const struct nonce *nonce, unsigned char *object, size_t n_bytes)
{
    crypto_aead_aes256gcm_state state;
    crypto_aead_aes256gcm_beforenm(&state, seal->key);
    crypto_aead_aes256gcm_encrypt_detached_afternm(
        object + SEAL_PREFIX_BYTES, object, NULL, object + SEAL_PREFIX_BYTES,
        n_bytes - SEAL_PREFIX_BYTES, (const unsigned char *)place, sizeof(*place), NULL,
        nonce->bytes, &state);
    sodium_memzero(&state, sizeof(state));
}

static int decrypt_aes(const struct seal *seal, const struct seal_place *place,
                       const struct nonce *nonce, unsigned char *object, size_t n_bytes)
{
    crypto_aead_aes256gcm_state state;
    crypto_aead_aes256gcm_beforenm(&state, seal->key);
    const int result = crypto_aead_aes256gcm_decrypt_detached_afternm(
        object + SEAL_PREFIX_BYTES, NULL, object + SEAL_PREFIX_BYTES, n_bytes - SEAL_PREFIX_BYTES,
        object, (const unsigned char *)place, sizeof(*place), nonce->bytes, &state);
    sodium_memzero(&state, sizeof(state));
    return result;
}

void seal_encrypt(const struct seal *seal, const struct seal_place *place, unsigned char *object,
                  size_t n_bytes)
{
    const struct nonce nonce = nonce_of(place);
    unsigned char *text = object + SEAL_PREFIX_BYTES;
    object[SEAL_TAG_BYTES] = (unsigned char)place->n_units ^ length_mask(seal, &nonce);
    if (seal->cipher == SEAL_AES_256_GCM)
        encrypt_aes(seal, place, &nonce, object, n_bytes);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt_detached(
            text, object, NULL, text, n_bytes - SEAL_PREFIX_BYTES, (const unsigned char *)place,
            sizeof(*place), NULL, nonce.bytes, seal->key);
    wipe_stack();
}

int seal_decrypt(const struct seal *seal, const struct seal_place *place, unsigned char *object,
                 size_t n_bytes)
{
    const struct nonce nonce = nonce_of(place);
    unsigned char *text = object + SEAL_PREFIX_BYTES;
    int result;
    if (seal->cipher == SEAL_AES_256_GCM)
        result = decrypt_aes(seal, place, &nonce, object, n_bytes);
    else
        result = crypto_aead_chacha20poly1305_ietf_decrypt_detached(
            text, NULL, text, n_bytes - SEAL_PREFIX_BYTES, object, (const unsigned char *)place,
            sizeof(*place), nonce.bytes, seal->key);
    wipe_stack();
    /* The one byte that the tag does not cover. */
    const bool fits = (object[SEAL_TAG_BYTES] ^ length_mask(seal, &nonce)) == place->n_units;
    return result == 0 && fits ? 0 : -EBADMSG;
}
