//go:build race

package spool

// raced: the race detector makes everything eight times as slow, and needs each way through the code once or twice.
const raced = true
