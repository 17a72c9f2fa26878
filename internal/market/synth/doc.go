// Package synth is the synthetic market: a generative model of a catalog, its
// users and what they do, with logged impressions, whose best possible
// re-ranking is known.
//
// # The model
//
// An item has a product type (which lies in a department), a style that its
// title names, a brand, a price tier, an appeal and a release date. A user has
// taste vectors over departments and styles, favourite brands, a price tier,
// and traits: how much they follow complements and how much they repeat. The
// utility of an item to a user at a time is
//
//	u = base + department taste + style taste + brand taste and loyalty
//	  + need for a complement - satiation - price distance
//	  + season + appeal + freshness + repeat
//
// (Params.Weights scales each term; utility.go is the definition.) Needs arise
// from the user's last Memory events: who got a shampoo soon wants a
// conditioner, and no second shampoo. They fade with time and end when met.
//
// A user comes in sessions. In a session they choose items of their own accord
// (softmax of utility over items they come across), and in some sessions they
// are shown a slate of K candidates from a mixed retriever, ordered by a
// pointwise ranker that sees popularity, the user's department taste and
// noise, but neither complements nor style nor brand. For each candidate,
// independently,
//
//	P(click | examined) = sigmoid(u)
//	P(convert | click)  = sigmoid(ConvertBase + ConvertSlope*u)
//
// and a candidate at position p (from 1) is examined with probability
// p^-Examination: training clicks are biased by position. In the last
// FullExamination share of the time every candidate is examined, so that
// metrics on test slates are unbiased. Clicks and conversions become events.
//
// # The ceiling
//
// World knows every latent value. Its order, called "bayes" in reports, is
// that of oracle-latent knowledge: it knows the user's taste and traits and
// the true state that follows from all their earlier events, in short the
// probability of each outcome, but not the outcome's coin. It ranks by the
// expected gain E[2^grade - 1] under full examination. Because utility alone
// orders both the click odds and the conversion odds, and ConvertSlope is at
// most 1, grades of different candidates are ordered by likelihood ratio, and
// an exchange argument shows: no other order has a higher expectation of any
// metric in package metric, conditional on a positive or not. So no re-ranker,
// whatever it is given, can beat it but by luck. A re-ranker that sees logs
// only must infer the taste and stays below.
//
// Everything is a function of Params and seed.
package synth
