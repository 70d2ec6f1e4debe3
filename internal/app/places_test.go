//go:build unix

package app

import "testing"

func TestPlaces(t *testing.T) {
	for files, want := range map[uint64]int{50: 3, 1024: 739, 1 << 20: 838780, 1 << 63: 0, ^uint64(0): 0} {
		if got := placesOf(files); got != want {
			t.Errorf("%d files: %d places, want %d", files, got, want)
		}
	}
}
