// Package samples carries the descriptions of the sample applications, so that one binary can show them
// anywhere. It is read-only and safe for concurrent use. The applications themselves are in the folders
// beside it; what they need at run time is in their own binaries.
package samples
