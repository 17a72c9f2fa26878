// Package train is the step loop: examples packed into batches, gradients
// accumulated, clipped and applied, validated at even distances, and
// checkpointed so that a killed run goes on to the same bits.
//
// What is learned is the matter of the stages (train/midtrain, train/sft),
// which give examples by coordinates: the same (epoch, number) is always the
// same example, whatever was drawn before.
package train
