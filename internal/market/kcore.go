package market

import "fmt"

// KCore returns the largest part of the data set in which every user and every
// item has at least k events (k <= 0 keeps all). Kept items and users stay in
// their relative order. A logged slate stays only when its user and all its
// candidates stay, because a shortened slate was never shown to anybody; from
// its history the removed items go.
func (ds *Dataset) KCore(k int) *Dataset {
	users, items := ds.coreMembers(k)
	userOrder, newUser := survivors(users)
	itemOrder, newItem := survivors(items)

	core := &Dataset{
		Name:    ds.Name,
		Catalog: newCatalog(pick(ds.Catalog.Items, itemOrder)),
		Users:   pick(ds.Users, userOrder),
	}
	for _, e := range ds.Events {
		if users[e.User] && items[e.Item] {
			e.User, e.Item = newUser[e.User], newItem[e.Item]
			core.Events = append(core.Events, e)
		}
	}
	for i := range ds.Slates {
		if s, ok := coreSlate(&ds.Slates[i], newUser, newItem); ok {
			core.Slates = append(core.Slates, s)
		}
	}
	if ds.Source != nil {
		source := *ds.Source
		note := fmt.Sprintf("%d-core: %d of %d users, %d of %d items, %d of %d events, %d of %d slates kept", k,
			len(core.Users), len(ds.Users), core.Catalog.Len(), ds.Catalog.Len(),
			len(core.Events), len(ds.Events), len(core.Slates), len(ds.Slates))
		source.Notes = append(append([]string(nil), source.Notes...), note)
		core.Source = &source
	}
	return core
}

// coreMembers tells which users and items survive. Dropping one user can drop
// an item and the other way round, so it repeats until nothing changes.
func (ds *Dataset) coreMembers(k int) (users, items []bool) {
	users, items = all(len(ds.Users)), all(ds.Catalog.Len())
	for changed := true; changed; {
		userEvents, itemEvents := make([]int, len(users)), make([]int, len(items))
		for _, e := range ds.Events {
			if users[e.User] && items[e.Item] {
				userEvents[e.User]++
				itemEvents[e.Item]++
			}
		}
		changed = false
		for u, n := range userEvents {
			if users[u] && n < k {
				users[u], changed = false, true
			}
		}
		for i, n := range itemEvents {
			if items[i] && n < k {
				items[i], changed = false, true
			}
		}
	}
	return users, items
}

func all(n int) []bool {
	in := make([]bool, n)
	for i := range in {
		in[i] = true
	}
	return in
}

// survivors returns the old numbers that stay and, for each old number, the
// new one (-1 when it goes).
func survivors(in []bool) (order, renumber []int32) {
	renumber = make([]int32, len(in))
	for old, stays := range in {
		renumber[old] = -1
		if stays {
			renumber[old] = int32(len(order))
			order = append(order, int32(old))
		}
	}
	return order, renumber
}

func coreSlate(old *Slate, newUser, newItem []int32) (Slate, bool) {
	s := *old
	if s.User >= 0 {
		if s.User = newUser[s.User]; s.User < 0 {
			return Slate{}, false
		}
	}
	s.Candidates = make([]Candidate, len(old.Candidates))
	for i, c := range old.Candidates {
		if c.Item = newItem[c.Item]; c.Item < 0 {
			return Slate{}, false
		}
		s.Candidates[i] = c
	}
	s.History = nil
	for _, v := range old.History {
		if v.Item = newItem[v.Item]; v.Item >= 0 {
			s.History = append(s.History, v)
		}
	}
	return s, true
}
