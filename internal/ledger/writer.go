package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The writer is one goroutine, or whoever asks for Flush. It takes what has changed out of the shards, a few thousand
// records at a time, and gives that to the file. When the file fails in any way it is closed, and what is in it is
// taken as unknown: to open it again is to read it, to compare it with the memory, and to write what differs. So nothing
// has to be kept for a second try, however long the file is out of reach.

// run writes and sweeps until the context ends.
func (l *Ledger) run(ctx context.Context) {
	write, sweep := time.NewTicker(writeEvery), time.NewTicker(sweepEvery)
	defer write.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-write.C:
			<-l.writing
			_ = l.round(ctx, false) // told already
			l.writing <- struct{}{}
		case <-sweep.C:
			l.sweep()
		}
	}
}

// sweep removes what has expired, and tells of tables that are full.
func (l *Ledger) sweep() {
	now := time.Now()
	for _, t := range l.all() {
		t.sweep(seconds(now))
		u := t.usage()
		lost := u.Evicted + u.Refused
		if lost > l.lastSeen[t.name] && now.Sub(l.told[t.name]) >= tellEvery {
			l.told[t.name] = now
			l.log.Warn("a table of the ledger is full: what is oldest in it gives way, or what is new is not taken",
				"table", t.name, "records", u.Records, "evicted", u.Evicted, "refused", u.Refused)
		}
		l.lastSeen[t.name] = lost
	}
}

// round writes what has changed; tables of counters only from time to time, unless everything is wanted. When the file
// turns out to be damaged, all of it is written to a new one.
func (l *Ledger) round(ctx context.Context, everything bool) error {
	err := l.writeChanges(ctx, everything)
	if errors.Is(err, ErrDamaged) {
		err = l.writeChanges(ctx, true)
	}
	return err
}

func (l *Ledger) writeChanges(ctx context.Context, everything bool) error {
	now := time.Now()
	if !l.open {
		if now.Before(l.retry) && !everything {
			return l.failing
		}
		if err := l.attach(); err != nil {
			l.fail(err)
			return err
		}
	}
	everything = everything || !now.Before(l.lazyDue)
	if everything {
		l.lazyDue = now.Add(lazyEvery)
	}
	rows := make([]Row, 0, batch)
	l.takeGone()
	for len(l.gone) > 0 {
		for len(l.gone) > 0 && len(rows) < batch {
			rows = append(rows, Row{ID: l.gone[0], Gone: true})
			l.gone = l.gone[1:]
		}
		if len(rows) == batch {
			if err := l.write(ctx, &rows); err != nil {
				return err
			}
		}
	}
	for _, t := range l.all() {
		if t.lazy.Load() && !everything {
			continue
		}
		for i := range t.parts {
			for p := &t.parts[i]; p.changed(); {
				rows = l.take(t, p, rows)
				if len(rows) < batch {
					continue
				}
				if err := l.write(ctx, &rows); err != nil {
					return err
				}
			}
		}
	}
	return l.write(ctx, &rows)
}

// takeGone collects the rows of removed records.
func (l *Ledger) takeGone() {
	for _, t := range l.all() {
		for i := range t.parts {
			p := &t.parts[i]
			p.mu.Lock()
			l.gone = append(l.gone, p.gone...)
			p.gone = nil
			p.mu.Unlock()
		}
	}
}

func (p *shard) changed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.dirty) > 0
}

// take adds changed records of a shard to rows, up to the size of a batch.
func (l *Ledger) take(t *table, p *shard, rows []Row) []Row {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for ; n < len(p.dirty) && len(rows) < batch; n++ {
		s := &p.slots[p.dirty[n]]
		if !s.dirty { // it was removed
			continue
		}
		s.dirty = false
		if s.id == 0 {
			s.id = l.newID()
		}
		rows = append(rows, s.row(t.name))
	}
	p.dirty = append(p.dirty[:0], p.dirty[n:]...)
	return rows
}

func (s *slot) row(table string) Row {
	return Row{
		ID: s.id, Table: table, Key: s.key, First: s.first, Last: s.last, Count: s.count, Expires: s.expires, Updated: s.updated,
	}
}

// newID gives the number of a row that is not in use. Rows are numbered anew from those that were removed, so that the
// file does not grow beyond the most that was in it at once.
func (l *Ledger) newID() (id uint32) {
	if n := len(l.freeIDs); n > 0 {
		id, l.freeIDs = l.freeIDs[n-1], l.freeIDs[:n-1]
		return id
	}
	id = l.nextID
	l.nextID++
	return id
}

// write writes rows and empties the slice. When the context has ended it gives up.
func (l *Ledger) write(ctx context.Context, rows *[]Row) error {
	if len(*rows) > 0 {
		if err := l.file.Write(*rows); err != nil {
			l.failed.Add(1)
			l.open = false
			if errors.Is(err, ErrDamaged) && l.putAside(err) == nil {
				return err
			}
			err = errors.Join(err, l.file.Close())
			l.fail(err)
			return err
		}
		for _, r := range *rows {
			if r.Gone {
				l.freeIDs = append(l.freeIDs, r.ID)
			}
		}
		l.written.Add(int64(len(*rows)))
		*rows = (*rows)[:0]
	}
	l.succeed()
	return ctx.Err()
}

// attach opens the file and makes memory and file agree, as far as can be done by reading. A damaged file is set aside;
// what could be read of it stays.
func (l *Ledger) attach() error {
	err := l.file.Open()
	if err == nil {
		err = l.load()
	}
	if errors.Is(err, ErrDamaged) {
		if err = l.putAside(err); err == nil {
			if err = l.file.Open(); err == nil {
				err = l.load()
			}
		}
	}
	if err != nil {
		return errors.Join(err, l.file.Close())
	}
	l.open = true
	if l.failing == nil { // else it is in use again when something could be written
		l.durable.Store(true)
	}
	return nil
}

// putAside gives a damaged file another name. The error is that this could not be done.
func (l *Ledger) putAside(damage error) error {
	l.setAside.Add(1)
	name, err := l.file.SetAside()
	if err != nil {
		return fmt.Errorf("ledger: set the damaged file aside: %w", errors.Join(err, damage))
	}
	l.log.Error("the ledger's file is damaged: it was set aside, and a new one is begun with what is known",
		"file", l.file.Name(), "renamed", name, "error", damage.Error())
	return nil
}

// load reads the file. What it has and the memory has not is taken in, the first time; after that it was removed from
// memory. Of what both have the memory's word counts.
func (l *Ledger) load() error {
	for _, t := range l.all() {
		t.unwritten()
	}
	l.freeIDs, l.gone, l.nextID = nil, nil, 1
	now := seconds(time.Now())
	tables := map[string]*table{}
	err := l.file.Load(func(r Row) {
		for ; l.nextID < r.ID; l.nextID++ {
			if len(l.freeIDs) < maxFreeIDs {
				l.freeIDs = append(l.freeIDs, l.nextID)
			}
		}
		l.nextID = r.ID + 1
		t := tables[r.Table]
		if t == nil {
			t = l.table(r.Table)
			tables[r.Table] = t
		}
		if !t.take(r, now, !l.loaded) {
			l.gone = append(l.gone, r.ID)
		}
	})
	for _, t := range tables {
		t.order()
	}
	if err == nil {
		l.loaded = true
	}
	return err
}

// maxFreeIDs bounds the gaps between rows that are filled again.
const maxFreeIDs = 1 << 20

// unwritten takes every record for one that is not in the file.
func (t *table) unwritten() {
	for n := range t.parts {
		p := &t.parts[n]
		p.mu.Lock()
		p.gone, p.dirty = nil, p.dirty[:0]
		for i := range p.slots {
			if s := &p.slots[i]; s.used {
				s.id, s.dirty = 0, true
				p.dirty = append(p.dirty, int32(i))
			}
		}
		p.mu.Unlock()
	}
}

// take takes a row in, or finds that it is in memory already. It gives false for a row that is of no use.
func (t *table) take(r Row, now uint32, unknown bool) bool {
	p := t.part(r.Key)
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.index[r.Key]
	switch {
	case ok && p.slots[i].id != 0, !ok && (!unknown || r.Expires <= now):
		return false
	case !ok:
		i = p.add(r.Key)
		t.records.Add(1)
		s := &p.slots[i]
		s.first, s.last, s.count, s.expires, s.updated = r.First, r.Last, r.Count, r.Expires, r.Updated
	}
	s := &p.slots[i]
	s.id = r.ID
	if s.row(r.Table) == r {
		s.dirty = false
	}
	return true
}

// order chains the records by the times of their updates.
func (t *table) order() {
	for n := range t.parts {
		p := &t.parts[n]
		p.mu.Lock()
		all := make([]int32, 0, len(p.index))
		for i := range p.slots {
			if p.slots[i].used {
				all = append(all, int32(i))
			}
		}
		slices.SortStableFunc(all, func(a, b int32) int { return int(int64(p.slots[a].updated) - int64(p.slots[b].updated)) })
		p.oldest, p.newest = -1, -1
		for _, i := range all {
			p.link(i)
		}
		p.mu.Unlock()
	}
}

// fail takes note of a file that can't be used, and tells of the first of a series.
func (l *Ledger) fail(err error) {
	if l.failing == nil {
		l.log.Error("the ledger's file can't be used: what is remembered is lost at a restart", "file", l.file.Name(), "error", err.Error())
	}
	l.failing = err
	l.durable.Store(false)
	l.pause = min(max(2*l.pause, firstPause), maxPause)
	l.retry = time.Now().Add(l.pause)
}

func (l *Ledger) succeed() {
	if l.failing != nil {
		l.log.Info("the ledger's file is in use again", "file", l.file.Name())
	}
	l.failing, l.pause = nil, 0
	l.durable.Store(true)
}
