package resilience

import (
	"math/bits"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	defaultBackoff   = 25 * time.Millisecond
	maxBackoffFactor = 10 // MaxBackoff in Backoffs, where it is not given
)

// Backoff is how long to wait before the retry with number n, the first being 0: anything from 0 to Backoff * 2^n,
// at most MaxBackoff ("full jitter": Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015).
// random is one random word. A nil retry has the defaults, 25 ms and 250 ms.
func Backoff(n int, retry *model.Retry, random uint64) time.Duration {
	most := backoffCap(n, retry)
	hi, _ := bits.Mul64(random, uint64(most)+1)
	return time.Duration(hi)
}

// backoffCap is the longest wait before retry n.
func backoffCap(n int, retry *model.Retry) time.Duration {
	base, most := defaultBackoff, time.Duration(0)
	if retry != nil {
		if retry.Backoff > 0 {
			base = retry.Backoff
		}
		most = retry.MaxBackoff
	}
	if most <= 0 {
		most = maxBackoffFactor * base
	}
	most = max(most, base)
	for ; n > 0 && base < most; n-- {
		base *= 2
	}
	return min(base, most)
}
