package eval

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// The month's names, and the zones that are in use by name (RFC 5322 4.3, and custom), as hours and minutes.
var (
	months = map[string]int{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}
	zones  = map[string]int{
		"UT": 0, "UTC": 0, "GMT": 0, "WET": 0, "NDT": -230, "AST": -400, "ADT": -300, "NST": -330, "EST": -500, "EDT": -400, "CST": -600,
		"CDT": -500, "MST": -700, "MDT": -600, "PST": -800, "PDT": -700, "HST": -1000, "AKST": -900, "AKDT": -800, "HADT": -900,
		"HAST": -1000, "BST": 100, "IST": 100, "WEST": 100, "CET": 100, "CEST": 200, "EET": 200, "EEST": 300, "MSK": 300, "MSD": 400,
		"MET": 100, "MEZ": 100, "MEST": 200, "MESZ": 200, "BRST": -200, "BRT": -300, "AEST": 1000, "AEDT": 1100, "ACST": 930, "ACDT": 1030,
		"AWST": 800, "NZST": 1200, "NZDT": 1300, "JST": 900, "KST": 900, "HKT": 800, "SGT": 800, "PHT": 800, "IDT": 300,
	}
)

// parseDate reads the first date in a text, as leniently as SpamAssassin: day, month, year in any of three orders, a time of
// day anywhere, a zone anywhere. Numbers that can't be are made such that can.
func parseDate(b []byte) (seconds int64, ok bool) {
	words := dateWords(b)
	day, month, year, at, n := findDay(words)
	if n == 0 {
		return 0, false
	}
	switch {
	case len(year) == 2 && year < "50":
		year = "20" + year
	case len(year) != 4:
		y, _ := strconv.Atoi(year)
		year = strconv.Itoa(y + 1900)
	}
	rest := slices.Delete(words, at, at+n)
	h, m, s := 0, 0, 0
	if i := slices.IndexFunc(rest, isClock); i >= 0 {
		h, m, s = clock(rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	y, _ := strconv.Atoi(year)
	d, err := strconv.Atoi(day)
	if err != nil {
		d = math.MaxInt32
	}
	mon := months[month]
	s, m, h = min(s, 59), min(m, 59), min(h, 23)
	last := 31
	switch {
	case mon == 4 || mon == 6 || mon == 9 || mon == 11:
		last = 30
	case mon == 2:
		if last = 28; y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			last = 29
		}
	}
	if d > last {
		if d, mon = 1, mon+1; mon > 12 {
			mon, y = 1, y+1
		}
	}
	y = max(1970, min(y, 2037))
	if mon == 2 && d == 29 && time.Date(y, 2, 29, 0, 0, 0, 0, time.UTC).Month() != 2 || d < 1 {
		return 0, false
	}
	seconds = time.Date(y, time.Month(mon), d, h, m, s, 0, time.UTC).Unix()
	off := zone(rest)
	if off > 0 && seconds < off {
		return 0, true
	}
	return seconds - off, true
}

// dateWords gives the words of a date, commas being blanks.
func dateWords(b []byte) []string {
	const most = 4096
	return slices.Collect(func(yield func(string) bool) {
		n := 0
		for w := range bytes.FieldsFuncSeq(b, func(r rune) bool { return r == ',' || r == ' ' || '\t' <= r && r <= '\r' }) {
			if n++; n > most || !yield(string(w)) {
				return
			}
		}
	})
}

// findDay finds day, month and year: as "2 Jan 2006", else "Jan 2 15:04:05 2006", else "2 Jan 06". The words from at on, n of
// them, are what was found.
func findDay(w []string) (day, month, year string, at, n int) {
	digits := func(s string) bool {
		for i := range len(s) {
			if !isDigit(s[i]) {
				return false
			}
		}
		return s != ""
	}
	isMonth := func(i int) bool {
		_, ok := months[string(lower([]byte(w[i])))]
		return ok
	}
	low := func(i int) string { return string(lower([]byte(w[i]))) }
	for i := 0; i+2 < len(w); i++ {
		if digits(w[i]) && isMonth(i+1) && digits(w[i+2]) && len(w[i+2]) == 4 {
			return w[i], low(i + 1), w[i+2], i, 3
		}
	}
	for i := 0; i+3 < len(w); i++ {
		if isMonth(i) && digits(w[i+1]) && fullClock.MatchString(w[i+2]) && digits(w[i+3]) && len(w[i+3]) == 4 {
			return w[i+1], low(i), w[i+3], i, 4
		}
	}
	for i := 0; i+2 < len(w); i++ {
		if digits(w[i]) && isMonth(i+1) && digits(w[i+2]) && (len(w[i+2]) == 2 || len(w[i+2]) == 3) {
			return w[i], low(i + 1), w[i+2], i, 3
		}
	}
	return "", "", "", 0, 0
}

var fullClock = regexp.MustCompile(`^\d+:\d+:\d+$`)

// isClock reports whether a word is a time of day.
func isClock(s string) bool {
	i := 1
	if len(s) > 1 && isDigit(s[1]) {
		i = 2
	}
	return (len(s) == i+3 || len(s) == i+6 && s[i+3] == ':' && isDigit(s[i+4]) && isDigit(s[i+5])) && isDigit(s[0]) && s[i] == ':' &&
		isDigit(s[i+1]) && isDigit(s[i+2])
}

func clock(s string) (h, m, sec int) {
	i := bytes.IndexByte([]byte(s), ':')
	h, _ = strconv.Atoi(s[:i])
	m, _ = strconv.Atoi(s[i+1 : i+3])
	if len(s) > i+4 {
		sec, _ = strconv.Atoi(s[i+4:])
	}
	return h, m, sec
}

var zoneName = regexp.MustCompile(`\b[A-Z]{2,4}(?:-DST)?\b`)

// zone gives the offset of a zone in seconds: a number, else the first word in capitals where that is known.
func zone(words []string) int64 {
	hhmm := 0
	for _, w := range words {
		if len(w) == 5 && (w[0] == '+' || w[0] == '-') && isDigit(w[1]) && isDigit(w[2]) && isDigit(w[3]) && isDigit(w[4]) {
			n, _ := strconv.Atoi(w[1:])
			if w[0] == '-' {
				n = -n
			}
			return offset(n)
		}
	}
	for _, w := range words {
		if name := zoneName.FindString(w); name != "" {
			hhmm = zones[name]
			break
		}
	}
	return offset(hhmm)
}

func offset(hhmm int) int64 { return int64(hhmm/100*3600 + hhmm%100*60) }

var receivedDate = regexp.MustCompile(`\s.?\d+ \S\S\S \d+ \d+:\d+:\d+ \S+`)

// receivedTimes gives the times of the Received fields, the newest first. Those of programs that fetch mail are passed over.
func (m *Mail) receivedTimes() (times []int64) {
	var lines [][]byte
	for l := range bytes.SplitSeq(m.get(selReceived), []byte("\n")) {
		if len(bytes.TrimSpace(l)) > 0 {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	first := lines[0]
	local := localHop.Match(first) || qmailHop.Match(first)
	if local {
		lines = lines[1:]
	}
	switch {
	case len(lines) > 0 && fetchmailHop.Match(lines[0]):
		lines = lines[1:]
	case local:
		lines = append([][]byte{first}, lines...)
	}
	for _, l := range lines {
		if d := receivedDate.Find(l); d != nil {
			if t, ok := parseDate(d); ok {
				times = append(times, t)
			}
		}
	}
	return times
}

var (
	localHop     = regexp.MustCompile(`\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)`)
	qmailHop     = regexp.MustCompile(`qmail \d+ invoked by uid \d+`)
	fetchmailHop = regexp.MustCompile(`\bby localhost with \w+ \(fetchmail-[\d.]+`)
)

// dateShift gives by how many seconds the date is later than that Received field's which is nearest to it; 0 where there is
// no date to compare.
func (m *Mail) dateShift() int64 {
	return m.heads.dates.get(func() int64 {
		date, ok := m.headerDate()
		if !ok {
			return 0
		}
		times := m.receivedTimes()
		if len(times) == 0 {
			return 0
		}
		if n := len(times); n > 1 && times[n-1] == date {
			times = times[:n-1] // the host that took it from its author wrote the date itself, perhaps
		}
		best := date - times[0]
		for _, t := range times[1:] {
			if d := date - t; abs(d) < abs(best) {
				best = d
			}
		}
		return best
	})
}

func abs(n int64) int64 { return max(n, -n) }

// headerDate gives the date that the message says: when it was sent again, else when it was sent.
func (m *Mail) headerDate() (int64, bool) {
	for _, d := range slices.Concat(m.Text.Values(selResentDate), m.Text.Values(selDate)) {
		if len(d) > 0 {
			if t, ok := parseDate(bytes.TrimSuffix(d, []byte("\n"))); ok {
				return t, true
			}
		}
	}
	return 0, false
}

func compileShifted(_ *Settings, args []string) (Check, error) {
	inside, err := twoBounds("check_for_shifted_date", args, 3600)
	return func(m *Mail) (int, string) {
		d := m.dateShift()
		return yes(inside(float64(d)), (time.Duration(d) * time.Second).String())
	}, err
}

// Outlook's ids tell the time in units of 2^32/10^7 seconds, since 1601.
var outlook = regexp.MustCompile(`^<[0-9a-f]{4}([0-9a-f]{8})\$[0-9a-f]{8}\$[0-9a-f]{8}@`)

// outlookID reports whether an id of Outlook's form tells another time than date and Received fields.
func outlookID(m *Mail) (int, string) {
	id := outlook.FindSubmatch(m.get(selMessageIDs))
	if id == nil {
		return 0, ""
	}
	token, _ := strconv.ParseInt(string(id[1]), 16, 64)
	const fudge = 250
	near := func(b []byte) bool {
		t, _ := parseDate(b)
		return abs(token-int64(float64(t)*0.0023283064365387+27111902.8329849)) < fudge
	}
	return yes(!near(m.get(selDate)) && !near(m.get(selReceived)), "")
}
