// Package hpack is header compression for HTTP/2 (RFC 7541), made for a proxy: most fields repeat on a
// connection and are one table look-up each, and nothing is allocated for those that do.
//
// It differs from golang.org/x/net/http2/hpack, which it replaced by measurement (docs/adr/0006), in what a
// proxy gains from. The encoder writes strings as they are: a Huffman code saves bytes between machines and
// costs time on both, and what repeats is not sent again anyway. The decoder works on whole header blocks and
// hands out strings that live in the table or in the message's own memory.
//
// Encoder and Decoder keep the state of one direction of one connection; neither is safe for concurrent use.
// The table of each takes at most 4,096 bytes as RFC 7541 section 4.1 counts. Decoding is bounded by the size of
// the block, which the caller bounds: a string may expand by its Huffman code to 8/5 of its size.
package hpack
