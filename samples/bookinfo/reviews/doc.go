// Package reviews serves what readers say of a book: GET /reviews/{id}, GET /health. Version 1 has no stars;
// versions 2 and 3 ask the ratings service for them and draw them black and red.
//
// A ratings service that fails is told of inside an answer of status 200, never by the status: that is the
// original's behaviour, and what the fault-injection lessons rely on.
//
// Concurrency: a Service is safe for concurrent use.
package reviews
