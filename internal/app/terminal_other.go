//go:build !linux

package app

import "os"

// isTerminal says no: where the terminal can't be kept from showing what is typed, nobody is asked for a password at it,
// and whoever types it nevertheless sees it.
func isTerminal(*os.File) bool { return false }

func readHidden(f *os.File) (string, error) { return firstLine(f) }
