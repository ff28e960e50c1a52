// Package ratings serves how many stars each reviewer gave a book: GET and POST /ratings/{id}, GET /health.
// Variants of it fail in the ways a mesh is there to survive.
//
// Concurrency: a Service is safe for concurrent use.
//
// Limits: it remembers what was posted for at most 1,000 books of at most 100 reviewers each, in memory.
package ratings
