// Package guard decides whether a service does worse since a change than before it.
//
// Both figures that it looks at are shares of requests: those that failed, and those slower than a bound for the
// p99 latency, which by definition of the quantile may be 1% of all. A share is worse when it is above what is
// allowed and Fisher's exact test (R. A. Fisher, Statistical Methods for Research Workers, section 21.02; one-sided)
// says that it is higher than before the change. So a service that was bad already does not condemn the change, and
// neither do one or two unlucky requests. Where there is too little to compare with, an exact binomial test
// against the allowed share stands in.
//
// A guard looks several times. The error probability of a look is Alpha divided by the number of looks (Bonferroni),
// so that a change that does nothing is condemned with a probability of at most Alpha for a service and a figure, as
// far as requests fail or are slow independently of each other.
//
// Everything here is a pure function of its arguments and safe for concurrent use.
package guard
