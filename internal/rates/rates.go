// Package rates limits how much of something there may be in a time, and counts it in tables of a filter.State. It does
// not know what is counted.
//
// A rate of 100 in an hour is a bucket of a hundred that is filled up at one each 36 seconds: a hundred may come at once,
// and after that as many as come back. What is used is kept as one number, the time at which the bucket would be full
// again (the "theoretical arrival time" of the generic cell rate algorithm), so that a record that is of no more use
// expires by itself, and what was taken can be given back.
package rates

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
)

// Rate is so much in a time. The zero Rate is no limit.
type Rate struct {
	Most int64
	Per  time.Duration
}

// Bounds of a rate.
const (
	maxMost = 1 << 50
	maxPer  = 366 * 24 * time.Hour
)

// Times is a rate n times as high.
func (r Rate) Times(n int64) Rate {
	r.Most = min(r.Most, math.MaxInt64/n) * n
	return r
}

// Key names the record of a subject. Rates over the same time share it, so that a limit that is changed goes on with what
// was used of the one before.
func (r Rate) Key(subject ...string) filter.Digest {
	return filter.DigestOf(append(subject, r.Per.String())...)
}

// cost is the time in which n come back.
func (r Rate) cost(n int64) time.Duration {
	return time.Duration(min(float64(n)*float64(r.Per)/float64(r.Most), float64(maxPer)*10))
}

// Take takes n, if there are so many. If not it takes nothing, and gives the time until there will be. More than the
// rate has in all may be taken at once, where nothing is used: else it never could. What can't be counted is free.
func (r Rate) Take(t filter.Table, key filter.Digest, n int64) (wait time.Duration, ok bool) {
	if r.Most <= 0 {
		return 0, true
	}
	now, cost := time.Now(), r.cost(n)
	_, err := t.Update(key, func(rec filter.Record, known bool) filter.Record {
		if wait = r.wait(rec, known, now, cost); wait > 0 {
			return rec
		}
		full := now
		if known && rec.Last.After(now) {
			full = rec.Last
		}
		full = full.Add(cost)
		return filter.Record{Last: full, Expires: full}
	})
	if err != nil {
		return 0, true
	}
	return wait, wait <= 0
}

// Room tells as Take does whether there are n, and takes nothing.
func (r Rate) Room(t filter.Table, key filter.Digest, n int64) (wait time.Duration, ok bool) {
	if r.Most <= 0 {
		return 0, true
	}
	rec, known := t.Get(key)
	wait = r.wait(rec, known, time.Now(), r.cost(n))
	return wait, wait <= 0
}

// wait is how long it takes until there is room for cost.
func (r Rate) wait(rec filter.Record, known bool, now time.Time, cost time.Duration) time.Duration {
	used := rec.Last.Sub(now)
	if !known || used <= 0 {
		return 0
	}
	// Of more than there is room for in all: until nothing is used. A record is exact to the microsecond.
	return min(used+cost-r.Per-time.Microsecond, used)
}

// Return gives back n that were taken.
func (r Rate) Return(t filter.Table, key filter.Digest, n int64) {
	if r.Most <= 0 {
		return
	}
	cost := r.cost(n)
	_, _ = t.Update(key, func(rec filter.Record, known bool) filter.Record {
		if !known {
			return filter.Record{} // it has come back by itself
		}
		rec.Last = rec.Last.Add(-cost)
		rec.Expires = rec.Last
		return rec
	})
}

// String writes the rate as Parse reads it.
func (r Rate) String() string {
	per := r.Per.String()
	for _, unit := range units {
		if r.Per >= unit.is && r.Per%unit.is == 0 {
			per = strconv.FormatInt(int64(r.Per/unit.is), 10) + unit.name
			break
		}
	}
	return strconv.FormatInt(r.Most, 10) + "/" + per
}

// units are those of times, the longest first.
var units = []struct {
	name string
	is   time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// sizes are the units of octets.
var sizes = []struct {
	name string
	is   int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}}

// Parse reads NUMBER/TIME, such as 100/1h, 100/h or 500/30m; the number of a rate of octets may have a unit: 1GiB/1d.
func Parse(s string) (Rate, error) {
	most, per, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, errors.New("rates: want NUMBER/TIME, such as 100/1h")
	}
	r := Rate{}
	factor := int64(1)
	for _, u := range sizes {
		if rest, ok := strings.CutSuffix(most, u.name); ok {
			most, factor = rest, u.is
			break
		}
	}
	n, err := strconv.ParseUint(most, 10, 62)
	if err != nil || n == 0 || n > maxMost/uint64(factor) {
		return Rate{}, fmt.Errorf("rates: %q before the / is no number from 1 on", most)
	}
	r.Most = int64(n) * factor
	if r.Per, err = parseTime(per); err != nil {
		return Rate{}, err
	}
	return r, nil
}

// parseTime reads a whole number and a unit, or a unit alone.
func parseTime(s string) (time.Duration, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if digits == "" {
			return u.is, nil
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err == nil && n > 0 && time.Duration(n) <= maxPer/u.is {
			return time.Duration(n) * u.is, nil
		}
		break
	}
	return 0, fmt.Errorf("rates: %q behind the / is no time such as 30s, 15m, 1h, 1d or 1w", s)
}
