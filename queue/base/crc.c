/*
 * CRC-32C: by the processor's own instruction where there is one, else by tables, eight octets at
 * a time ("slicing by 8").
 */
#include "base/crc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* What the C library knows of the processor already. To ask the processor costs a submission
 * two percent on a virtual machine, where each CPUID is a trip to the host and back. */
#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define HAS_SSE42() CPU_FEATURE_ACTIVE(SSE4_2)
#elif defined(__x86_64__)
#define HAS_SSE42() __builtin_cpu_supports("sse4.2")
#endif

#define POLYNOMIAL 0x82F63B78u /* Castagnoli's, bits reversed */

/* table[k][i]: what octet i does to the sum k octets later. */
static uint32_t table[8][256];

static void fill_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		table[0][i] = c;
	}
	for (unsigned k = 1; k < 8; k++)
		for (unsigned i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

/* At first use, as most processors never need it. (Not pthread_once: that would need libpthread
 * with older C libraries, a mutex does not.) */
static void need_table(void)
{
	static atomic_bool filled;
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	if (atomic_load_explicit(&filled, memory_order_acquire))
		return;
	pthread_mutex_lock(&lock);
	if (!atomic_load_explicit(&filled, memory_order_relaxed)) {
		fill_table();
		atomic_store_explicit(&filled, true, memory_order_release);
	}
	pthread_mutex_unlock(&lock);
}

static uint32_t by_octet(uint32_t c, const unsigned char *p, size_t n)
{
	while (n-- > 0)
		c = c >> 8 ^ table[0][(c ^ *p++) & 255];
	return c;
}

/* Little-endian, wherever it runs. */
static uint32_t load32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint32_t c = ~crc;

	need_table();
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t a = c ^ load32(p), b = load32(p + 4);
		c = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^
		    table[4][a >> 24] ^ table[3][b & 255] ^ table[2][b >> 8 & 255] ^
		    table[1][b >> 16 & 255] ^ table[0][b >> 24];
	}
	return ~by_octet(c, p, n);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
	uint32_t crc, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t c = (uint32_t)~crc, eight;

	for (; n >= sizeof eight; n -= sizeof eight, p += sizeof eight) {
		memcpy(&eight, p, sizeof eight);
		c = __builtin_ia32_crc32di(c, eight);
	}
	for (; n > 0; n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (HAS_SSE42())
		return by_instruction(crc, p, n);
#endif
	return crc32c_by_table(crc, p, n);
}
