// Package reward holds the verifiable rewards of reinforcement learning: pure
// functions from an answer and the grades of its slate to a number (GR2, eqs.
// 5-7).
//
// Everything is by place as shown: Grades[i] is the grade of the candidate
// shown at place i, a ranking lists places, best first. A ranking is an order,
// so no two candidates tie. Slates without a positive or without a negative
// reward nothing: Usable tells, and whoever loads slates drops them.
package reward
