// Command bookinfo is the BookInfo application, all of its programs in one binary:
//
//	bookinfo productpage|details|reviews|ratings [flags]
//
// Each serves HTTP until SIGTERM or SIGINT, then finishes what is under way. Exit status: 0 after an orderly
// end, 1 when it cannot serve, 2 for wrong usage.
package main
