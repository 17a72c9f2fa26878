package pipeline

import (
	"reflect"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/market"
)

func mustSFTSlates(t *testing.T, w *world) ([]trainSlate, []market.Slate) {
	t.Helper()
	training, held, err := w.slatesFor(StageSFT)
	if err != nil {
		t.Fatal(err)
	}
	return training, held
}

// Whose sequence mid-training reads gives no training slate, and everyone else
// gives one of each order.
func TestSequenceUsersGiveNoTrainingSlates(t *testing.T) {
	w := newTestWorld(t, nil)
	training, _ := mustSFTSlates(t, w)
	slates := map[int32]int{}
	for _, s := range training {
		if s.counted {
			slates[s.slate.User]++
		}
	}
	read := 0
	for u := range int32(testUsers) {
		want := 2
		if w.sequenceUser(u) {
			read, want = read+1, 0
		}
		if slates[u] != want {
			t.Errorf("user %d gives %d training slates, want %d", u, slates[u], want)
		}
	}
	if read < testUsers/3 || read > testUsers*2/3 {
		t.Errorf("%d of %d users are read, want about half", read, testUsers)
	}
	if w.sequenceUser(-1) {
		t.Error("an unknown user is read")
	}
	for share, want := range map[float64]int{0: 0, 1: testUsers} {
		w.job.Options.Midtrain.UserShare = share
		n := 0
		for u := range int32(testUsers) {
			if w.sequenceUser(u) {
				n++
			}
		}
		if n != want {
			t.Errorf("share %g: %d users are read, want %d", share, n, want)
		}
	}
}

// Where SFT has a share of the users, reinforcement learning has the others: no
// slate is in both, none is in neither. Otherwise both have all.
func TestStagesShareTheUsers(t *testing.T) {
	w := newTestWorld(t, nil)
	all, held := mustSFTSlates(t, w)
	if again, _, err := w.slatesFor(StageRL); err != nil || !reflect.DeepEqual(again, all) {
		t.Fatalf("with all users for both, reinforcement learning has other slates than SFT (%v)", err)
	}
	w.job.Options.SFT.UserShare = .5
	sft, sftHeld := mustSFTSlates(t, w)
	rl, rlHeld, err := w.slatesFor(StageRL)
	if err != nil {
		t.Fatal(err)
	}
	side := map[int32]string{}
	for name, part := range map[string][]trainSlate{StageSFT: sft, StageRL: rl} {
		for _, s := range part {
			if other := side[s.slate.User]; other != "" && other != name {
				t.Fatalf("user %d is in both stages", s.slate.User)
			}
			side[s.slate.User] = name
		}
	}
	if len(sft)+len(rl) != len(all) || len(sft) < len(all)/4 || len(rl) < len(all)/4 {
		t.Errorf("%d slates for SFT and %d for reinforcement learning of %d, want about half each", len(sft), len(rl), len(all))
	}
	if !reflect.DeepEqual(sftHeld, held) || !reflect.DeepEqual(rlHeld, held) {
		t.Error("the share moves the slates that choose weights")
	}
}

// A validation request either chooses weights or trains, in all orders alike.
func TestHeldOutRequestsDoNotTrain(t *testing.T) {
	w := newTestWorld(t, nil)
	training, held := mustSFTSlates(t, w)
	trained, chosen := map[int32]int{}, map[int32]int{}
	for _, s := range training {
		if !s.counted {
			trained[s.slate.User]++
		}
	}
	for _, s := range held {
		chosen[s.User]++
	}
	for u := range int32(testUsers) {
		if trained[u]+chosen[u] != 2 || trained[u]*chosen[u] != 0 {
			t.Errorf("user %d: %d validation slates train and %d choose weights, want both orders on one side", u, trained[u], chosen[u])
		}
	}
	if n := len(chosen); n < testUsers/6 || n > testUsers/2 {
		t.Errorf("%d of %d users choose weights, want about 30%%", n, testUsers)
	}
}

// Bounded, validation takes a sample of every order that does not depend on
// how slates are listed, and what is left out still does not train.
func TestHeldOutBound(t *testing.T) {
	_, all := mustSFTSlates(t, newTestWorld(t, nil))
	few := newTestWorld(t, func(o *Options) { o.SFT.ValidSlates = 10 })
	for _, set := range few.orders {
		slices.Reverse(set.valid.Slates)
	}
	training, held := mustSFTSlates(t, few)
	if !reflect.DeepEqual(held, all[:10]) {
		t.Error("the first ten of all held-out slates are others than those of a bound of ten")
	}
	for _, s := range training {
		if !s.counted && few.heldOut(s.slate) {
			t.Fatalf("%s is held out and trains", s.slate.ID)
		}
	}
}

// Slates without a user are held out one by one.
func TestHeldOutWithoutUsers(t *testing.T) {
	w := newTestWorld(t, nil)
	n := 0
	for i := range w.orders["bpr"].valid.Slates {
		s := w.orders["bpr"].valid.Slates[i]
		s.User = -1
		if w.heldOut(&s) {
			n++
		}
	}
	if n < testUsers/6 || n > testUsers/2 {
		t.Errorf("%d of %d slates are held out, want about 30%%", n, testUsers)
	}
}

func TestSFTOrders(t *testing.T) {
	w := newTestWorld(t, func(o *Options) { o.SFT.Orders = []string{"bpr"} })
	training, held := mustSFTSlates(t, w)
	bpr := w.orders["bpr"]
	for _, s := range training {
		if at := slices.IndexFunc(bpr.train.Slates, func(x market.Slate) bool { return x.ID == s.slate.ID }); s.counted && s.slate != &bpr.train.Slates[at] {
			t.Fatalf("%s is of another order", s.slate.ID)
		}
	}
	if len(held) > testUsers/2 || len(held) == 0 {
		t.Errorf("%d held-out slates of one order of %d", len(held), testUsers)
	}
}

// The evidence of a training slate is what would have been counted without the
// users of its own user's fold; that of a validation slate counts everyone.
func TestTrainingEvidenceLeavesOutTheOwnFold(t *testing.T) {
	w := newTestWorld(t, nil)
	training, _ := mustSFTSlates(t, w)
	cases, err := w.sftCases(t.Context(), training)
	if err != nil {
		t.Fatal(err)
	}
	folds := w.stats.Options().Folds
	without := make([]*evidence.Stats, folds)
	for fold := range without {
		events := slices.DeleteFunc(slices.Clone(w.data.Events), func(e market.Event) bool {
			return evidence.Fold(w.data.Users[e.User], folds) == fold
		})
		if without[fold], err = evidence.Build(w.data.Catalog, events, evidence.Options{Users: w.data.Users}); err != nil {
			t.Fatal(err)
		}
	}
	differ := 0
	for i, c := range cases {
		stats := w.stats
		if training[i].counted {
			stats = without[evidence.Fold(w.data.Users[c.Slate.User], folds)]
		}
		if c.Slate != training[i].slate || !reflect.DeepEqual(c.Evidence, w.buckets.CodeAll(stats.Raw(c.Slate, evidence.None))) {
			t.Fatalf("%s: the evidence is not that of the other folds", c.Slate.ID)
		}
		if training[i].counted && !reflect.DeepEqual(c.Evidence, w.buckets.CodeAll(w.stats.Raw(c.Slate, evidence.None))) {
			differ++
		}
		if c.Teacher != nil {
			t.Fatal("a teacher nobody asked for")
		}
	}
	if differ == 0 {
		t.Error("leaving out a fold changes no code: this test sees nothing")
	}
}

// A teacher has a finite logit for every candidate, and slates without prompts'
// evidence are taught all the same.
func TestTeacherScoresEveryCandidate(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"epochs": func(o *Options) { o.SFT.TeacherEpochs = 1 },
		"share":  func(o *Options) { o.SFT.TeacherShare = .5; o.Prompt.Evidence = false },
		"trees":  func(o *Options) { o.SFT.TeacherEpochs = 1; o.SFT.TeacherTrees = true },
	} {
		w := newTestWorld(t, change)
		training, _ := mustSFTSlates(t, w)
		cases, err := w.sftCases(t.Context(), training)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if len(c.Teacher) != len(c.Slate.Candidates) || slices.ContainsFunc(c.Teacher, func(x float64) bool { return x-x != 0 }) {
				t.Fatalf("%s: teacher %v of %d candidates", name, c.Teacher, len(c.Slate.Candidates))
			}
			if (c.Evidence != nil) != w.job.Options.Prompt.Evidence {
				t.Fatalf("%s: evidence %v", name, c.Evidence)
			}
		}
	}
}

// The teacher knows the order a slate comes from: one can be trusted at its first
// place, the other at its last.
func TestTeacherKnowsTheOrder(t *testing.T) {
	for name, trees := range map[string]bool{"linear": false, "trees": true} {
		t.Run(name, func(t *testing.T) { teacherKnowsTheOrder(t, trees) })
	}
}

func teacherKnowsTheOrder(t *testing.T, trees bool) {
	w := newTestWorld(t, func(o *Options) { o.SFT.TeacherEpochs = 1; o.SFT.TeacherTrees = trees })
	best := map[string]int{"sasrec": 0, "bpr": 5}
	for order, place := range best {
		for _, p := range []*part{&w.orders[order].train, &w.orders[order].valid} {
			for i := range p.Slates {
				clear(p.Slates[i].Grades)
				p.Slates[i].Grades[place] = market.GradeConvert
			}
		}
	}
	training, _ := mustSFTSlates(t, w)
	cases, err := w.sftCases(t.Context(), training)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		want := best[training[i].order]
		for k, x := range c.Teacher {
			if k != want && x >= c.Teacher[want] {
				t.Fatalf("%s, order %s: teacher %v, whose best should be candidate %d", c.Slate.ID, training[i].order, c.Teacher, want)
			}
		}
	}
}
