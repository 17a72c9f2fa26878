package synth

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/rng"
)

// user holds the latent taste and traits of one user.
type user struct {
	department [8]float32 // N(0,1) each
	style      [6]float32 // 1 for the favourite, else N(0,.3)
	brands     [2]int32   // favourites
	tier       int8
	complement float32 // log-normal, median 1: how much they follow needs
	repeat     float32 // N(0,1): negative = novelty seeking
}

// Spreads of the traits.
const (
	styleSpread      = .3
	complementSpread = .4
)

// tierShares are the shares of users that prefer each price tier.
var tierShares = [...]float64{.3, .45, .25}

func newUsers(p *Params, g *goods, seed uint64) []user {
	users := make([]user, p.Users)
	for n := range users {
		users[n] = g.drawUser(rng.New(seed, rng.Key("synth/user"), uint64(n)))
	}
	return users
}

func (g *goods) drawUser(random *rand.Rand) user {
	var u user
	for d := range u.department {
		u.department[d] = float32(random.NormFloat64())
	}
	for s := range u.style {
		u.style[s] = float32(styleSpread * random.NormFloat64())
	}
	u.style[random.IntN(len(u.style))] = 1
	for b := range u.brands {
		u.brands[b] = g.drawBrand(u.drawDepartment(random), random)
	}
	u.tier = int8(pick(tierShares[:], random))
	u.complement = float32(math.Exp(complementSpread * random.NormFloat64()))
	u.repeat = float32(random.NormFloat64())
	return u
}

// drawDepartment draws from the softmax of the user's department taste.
func (u *user) drawDepartment(random *rand.Rand) int {
	var weight [len(u.department)]float64
	for d, taste := range u.department {
		weight[d] = math.Exp(float64(taste))
	}
	return pick(weight[:], random)
}

// pick draws an index in proportion to the weights, which are not all zero.
func pick(weights []float64, random *rand.Rand) int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	at := random.Float64() * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	for i := len(weights) - 1; ; i-- { // rounding left at >= 0
		if weights[i] > 0 {
			return i
		}
	}
}
