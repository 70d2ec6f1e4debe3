package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, with two more units that may stand in
// front: w (seven days) and d (24 hours), as in "30d" and "1w2d12h". It must not be negative.
func ParseDuration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	for _, u := range []struct {
		unit byte
		is   time.Duration
	}{{'w', 7 * day}, {'d', day}} {
		i := strings.IndexByte(rest, u.unit)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:i], 10, 32)
		if err != nil || time.Duration(n) > (math.MaxInt64-sum)/u.is {
			return 0, fmt.Errorf("config: %q is not a duration", s)
		}
		sum += time.Duration(n) * u.is
		rest = rest[i+1:]
	}
	if rest == "" && s != "" {
		return sum, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-sum {
		return 0, fmt.Errorf("config: %q is not a duration", s)
	}
	return sum + d, nil
}

// FormatDuration writes a duration so that ParseDuration reads it as the same: whole days as "30d".
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// The units of sizes, greatest first in each family.
var units = []struct {
	name   string
	octets int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"T", 1e12},
	{"G", 1e9},
	{"M", 1e6},
	{"k", 1e3},
}

// ParseSize reads a count of octets: a whole number, alone or with one of the units KiB, MiB, GiB, TiB
// (powers of 1024) and k, M, G, T (powers of 1000).
func ParseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, factor = strings.TrimRight(rest, " "), u.octets
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/factor {
		return 0, fmt.Errorf("config: %q is not a size", s)
	}
	return int64(n) * factor, nil
}

// FormatSize writes a count of octets so that ParseSize reads it as the same.
func FormatSize(n int64) string {
	for _, u := range units {
		if n >= u.octets && n%u.octets == 0 {
			return strconv.FormatInt(n/u.octets, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
