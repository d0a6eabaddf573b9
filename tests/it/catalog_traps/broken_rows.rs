//! One broken row makes a 500 of every answer that it is in.

use super::*;

#[tokio::test]
async fn one_broken_row_is_lost_alone() {
    let (stand_in, client) = recorded().await;
    let all: Vec<_> = keys(&stand_in.state().setup.runs).into_iter().take(60).collect();
    let broken = &all[17];
    stand_in.put_broken(broken.as_str(), Health::NoType);
    let found = client.look_up(&all, Purpose::Event).await;
    assert_eq!(found.len(), 60);
    assert_eq!(count(&found, |o| matches!(o, Observation::Unknown(_))), 1);
    let Observation::Unknown(why) = &found[broken] else { panic!("{:?}", found[broken]) };
    assert!(why.is_of_the_run_alone() && why.to_string().contains("asked for alone"), "{why}");
    assert_eq!(client.circuit(), Circuit::Closed, "one row says nothing about the Catalog");
}

#[tokio::test]
async fn a_broken_row_makes_its_page_a_500_and_the_circuit_stays_closed() {
    let (stand_in, client) = recorded().await;
    stand_in.put_broken("course-v1:AcmeX+BIO110+2024_T2", Health::NoType);
    for _ in 0..6 {
        let error = client.page(0, 20, Purpose::Pass).await.unwrap_err();
        assert!(matches!(error, CatalogError::Status { code: 500, .. }), "{error}");
    }
    assert_eq!(client.page(20, 20, Purpose::Pass).await.unwrap().rows.len(), 20);
    assert_eq!(client.circuit(), Circuit::Closed);
}

#[tokio::test]
async fn a_run_with_an_odd_key_breaks_full_pages_but_not_ours() {
    let (stand_in, client) = recorded().await;
    stand_in.put_broken("course-v1:Acme X+a+b", Health::BadKey);
    let (status, _) = get(&format!("{}/api/v1/course_runs/?limit=300", stand_in.url())).await;
    assert_eq!(status, 500);
    let page = client.page(0, 300, Purpose::Pass).await.unwrap();
    assert_eq!((page.rows.len(), page.rows.iter().filter(|run| run.key.is_err()).count()), (242, 1));
}

#[tokio::test]
async fn a_broken_catalog_is_not_asked_for_every_run() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    stand_in.script(std::iter::repeat_n(Fault::Status(500), 300));
    let found = client.look_up(&all, Purpose::Event).await;
    assert_eq!(count(&found, |o| matches!(o, Observation::Unknown(_))), 240);
    let alone = |o: &Observation| matches!(o, Observation::Unknown(why) if why.is_of_the_run_alone());
    assert!(count(&found, alone) <= 2, "an outage is not the run's fault");
    assert!(client.requests() <= 12, "{}", client.requests());
}
