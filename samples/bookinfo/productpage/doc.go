// Package productpage is the page of BookInfo: it asks details and reviews and shows what they say, or which
// of them could not answer. GET /, /productpage, /logout, /health, /metrics, /api/v1/products and below it
// /{id}, /{id}/reviews, /{id}/ratings; POST /login.
//
// Who signs in becomes the header end-user of every call the page makes, which is what routes match on. There
// are no passwords: the sample has nothing to protect, and its cookie is signed only so that a name in it is
// one this page wrote.
//
// Concurrency: a Service is safe for concurrent use.
//
// Limits: a call takes at most 3 s, reviews are tried twice; names have at most 64 bytes.
package productpage
