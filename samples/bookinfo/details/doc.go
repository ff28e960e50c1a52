// Package details serves what is known of a book: GET /details/{id}, GET /health.
//
// It holds no state, and is safe for concurrent use.
package details
