// Package detection measures how well spam is told from mail: corpora of labelled messages, folds that keep
// near-duplicates together, curves and their intervals, weights of rules fitted on them. It judges no message
// itself, and no part of the gateway's way of a message needs it.
package detection
